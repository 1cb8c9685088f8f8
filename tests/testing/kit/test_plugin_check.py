"""The check of plugins: it passes those that the library ships, and finds one mistake in each of many bad ones."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bad_plugins import OPENED, bad_plugins

from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.errors import OptionError, PluginError
from rnncallbacks.testing import PluginCheckError, check_plugin
from rnncallbacks.testing.kit.plugin_check import CHECKS


class HasOneHook:
    @hookimpl
    def on_batch_end(self): ...


OPTIONS = {
    "cosine_decay": {"steps": 4},
    "cosine_restarts": {"steps": 2},
    "exponential_decay": {"factor": 0.9},
    "inverse_sqrt": {"warmup_steps": 2},
    "one_cycle": {"steps": 9},
    "piecewise_constant": {"boundaries": [1], "scales": [1.0, 0.1]},
    "polynomial_decay": {"steps": 5},
    "step_decay": {"every": 2},
    "warmup": {"steps": 3},
}
EXTRAS = ("mlflow", "optuna", "tensorboard")
"""Plugins that need an optional package; their own tests check them where it is installed."""
SHIPPED = [found.name for found in find_plugins() if found.distribution == "rnncallbacks" and found.name not in EXTRAS]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_plugins_of_the_library_pass(name, tmp_path_factory):
    kind = next(found for found in find_plugins() if found.name == name).load()

    def make():
        options = dict(OPTIONS.get(name, {}))
        if name == "history_log":
            options["directory"] = tmp_path_factory.mktemp("log")
        if name == "checkpoint":
            options |= {"path": tmp_path_factory.mktemp("checkpoint") / "file", "fsync": False}
        return kind(**options)

    check_plugin(make, budget_us=None, batches=100)


@pytest.fixture
def closes_files():
    yield
    for file in OPENED:
        file.close()


@pytest.mark.usefixtures("closes_files")
def test_each_mistake_is_found_and_told_in_one_line_with_a_remedy(tmp_path):
    for make, check, message in bad_plugins(tmp_path):
        name = getattr(make, "__name__", "")
        with pytest.raises(PluginCheckError) as caught:
            check_plugin(make, budget_us=100.0, batches=200, only=check.split("|"))
        found = [problem for problem in caught.value.problems if re.search(check, problem.check)]
        assert any(re.search(message, str(problem)) for problem in found), (name, str(caught.value))
        lines = str(caught.value).splitlines()
        assert len(lines) == len(caught.value.problems)
        assert all(re.fullmatch(r"[a-z ]+: .+; .+ \(docs/how-to/test-a-plugin\.md#[a-z-]+\)", line) for line in lines)


def test_all_checks_are_made_and_each_is_described():
    class HasThreeMistakes:
        @hookimpl
        def on_backward(self, batch):
            round(batch.loss)

        @hookimpl
        def on_fit_end(self):
            Path("left").touch()

    with pytest.raises(PluginCheckError) as caught:
        check_plugin(HasThreeMistakes, budget_us=None, batches=100)
    assert {problem.check for problem in caught.value.problems} == {"streams", "files", "pickling"}
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "test-a-plugin.md").read_text("utf-8")
    assert set(re.findall(r"^\(([a-z]+)\)=$", page, flags=re.MULTILINE)) == set(CHECKS)
    with pytest.raises(OptionError, match=r"there is no check 'resume'\n.*'resuming'"):
        check_plugin(HasThreeMistakes, only=["resume"])


def test_a_heavy_package_at_the_top_of_a_module_is_named_with_its_line(install):
    install(
        "heavy-plugin",
        {"heavy": "heavy_plugin:Heavy"},
        wandb="",  # of the same name, and empty
        heavy_plugin="""
            from rnncallbacks import hookimpl
            try:
                import wandb
            except ImportError:
                wandb = None

            class Heavy:
                @hookimpl
                def on_fit_end(self):
                    def needs():
                        import torch
        """,
    )
    from heavy_plugin import Heavy

    with pytest.raises(PluginCheckError, match=r"imports: heavy_plugin\.py, line 4, imports wandb; import it in"):
        check_plugin(Heavy, budget_us=None, batches=100)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (HasOneHook(), {}, r"a function that makes the plugin, got .*\n.*write check_plugin\(lambda: HasOneHook"),
        (lambda: None, {}, r"to make a plugin, got None\n.*return a plugin"),
        (lambda: HasOneHook, {}, r"to make a plugin, got <class .*\n.*return a plugin"),
        (lambda: SHIPPED, {}, r"returned the same object twice\n.*a new one in each call"),
        (HasOneHook, {"only": "cost"}, r"a list of checks, got 'cost'\n.*write \['cost'\]"),
        (HasOneHook, {"budget_us": "50"}, "budget_us: expected a finite number, got '50'"),
        (HasOneHook, {"batches": 0}, "batches: expected an integer >= 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(make, arguments, message):
    with pytest.raises((OptionError, PluginError), match=message):
        check_plugin(make, **arguments)


def test_a_plugin_that_fails_in_every_run_gets_one_line():
    class Fails:
        @hookimpl
        def on_epoch_end(self, run):
            run.learning_rate = 0.5

    expected = "^streams: in an ordinary run, .*on_epoch_end, epoch 1; correct this"
    with pytest.raises(PluginCheckError, match=expected) as caught:
        check_plugin(Fails)
    assert len(caught.value.problems) == 1


def test_ctrl_c_ends_the_check():
    class Interrupted:
        @hookimpl
        def on_batch_end(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_plugin(Interrupted)
