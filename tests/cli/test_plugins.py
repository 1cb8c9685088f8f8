"""``rnncallbacks plugins``: what is listed of each plugin, and how it fits the terminal."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.core.hookspecs import HOOKS


def call(*arguments: str):
    return CliRunner().invoke(rnncallbacks, list(arguments))


def test_the_listing_shows_name_package_hooks_and_options_of_every_plugin():
    shown = call("plugins").output.replace("\xa0", " ")
    assert "configuration: no configuration file" in shown
    for found in find_plugins():
        assert f"{found.name}  {found.distribution} {found.version}  not enabled" in shown
    text = " ".join(shown.split())
    assert "hooks on_epoch_start, on_backward, on_epoch_end options max_norm = 5.0, mode = 'global'" in text
    assert "options steps (required), interval = 'batch'" in text


def test_the_order_of_a_hook_says_who_may_change_what():
    Path("rnncallbacks.toml").write_text(
        "[plugins.gradient_clipping]\n[plugins.clips_values]\nplugin = 'gradient_clipping'\nmode = 'value'\n"
        "[plugins.divergence_alarm]\n[plugins.gradient_guard]\n"
    )
    shown = " ".join(call("plugins", "--order", "on_backward").output.split())
    assert shown == (
        "configuration: rnncallbacks.toml on_backward around: may change the gradients, in place; run.skip_batch "
        "1 gradient_guard around those that follow first: may change nothing but run.skip_batch: it sees the gradients "
        "of the script 2 divergence_alarm as listed: may change the gradients, in place; run.skip_batch "
        "3 gradient_clipping 4 clips_values"
    )
    assert "on_exception: no plugin implements it" in call("plugins", "--order", "on_exception").output
    assert "'bacward' is not one of" in call("plugins", "--order", "bacward").stderr


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("flags", [[], ["-v"]])
def test_the_listing_fits_the_terminal(monkeypatch, width, flags):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(len(line) for line in call("plugins", *flags).output.splitlines()) <= width


def test_the_verbose_listing_adds_types_module_and_purpose():
    shown = call("plugins", "-v").output.replace("\xa0", " ")
    assert "max_norm: float = 5.0" in shown
    assert "mode: Literal['global', 'array', 'value'] = 'global'" in shown
    assert "rnncallbacks.plugins.remedies.gradient_clipping:GradientClipping" in shown
    assert "Clips gradients in place" in shown


def test_the_listing_says_what_is_enabled_and_why(install, monkeypatch):
    install("acme", {"loud": "acme_loud:Loud"}, acme_loud="raise AssertionError('imported')")
    Path("rnncallbacks.toml").write_text(
        "[plugins.gradient_clipping]\nmax_norm = 2.0\n"
        "[plugins.by_value]\nplugin = 'gradient_clipping'\nmode = 'value'\n"
        "[plugins.loud]\nenabled = false\n"
        "[plugins.elsewhere]\n"
        "[plugins.warmup]\nstep = 3\n"
    )
    monkeypatch.setenv("RNNCALLBACKS_PLUGINS", "progress")
    done = call("plugins", "-p", "loss_averaging", "-p", "no:gradient_cliping")
    shown = done.output.replace("\xa0", " ")
    for line in (
        "gradient_clipping  rnncallbacks 0.1.0  enabled by rnncallbacks.toml",
        "max_norm = 2.0 (default 5.0)",
        "by_value (gradient_clipping)  rnncallbacks 0.1.0  enabled by rnncallbacks.toml",
        "loud  acme 1.0  disabled by rnncallbacks.toml: enabled = false; not imported",
        "elsewhere  failed it is not installed",
        "warmup  rnncallbacks 0.1.0  failed",
        "step: there is no such option; did you mean 'steps'?",
        "progress  rnncallbacks 0.1.0  enabled by RNNCALLBACKS_PLUGINS",
        "loss_averaging  rnncallbacks 0.1.0  enabled by -p",
        "problem -p: no plugin 'gradient_cliping' is installed; did you mean 'gradient_clipping'?",
    ):
        assert line.replace("0.1.0", version("rnncallbacks")) in shown
    assert done.exit_code == 0
    assert "acme_loud" not in sys.modules


def test_the_listing_shows_a_broken_plugin_and_a_contested_name_beside_all_others(install):
    install("acme-broken", {"broken": "acme_broken:Broken"}, acme_broken="import nowhere_to_be_found")
    install("acme-rival", {"progress": "acme_rival:Progress"})
    shown = " ".join(call("plugins", "-v").output.split())
    assert "broken acme-broken 1.0 failed plugin 'broken' of acme-broken 1.0 cannot be loaded" in shown
    assert "No module named 'nowhere_to_be_found'" in shown
    assert "progress acme-rival 1.0 failed plugin 'progress' is claimed by two distributions" in shown
    assert "loss_averaging rnncallbacks" in shown


def test_hooks_are_listed_in_the_order_of_the_loop():
    for line in call("plugins").output.splitlines():
        if line.strip().startswith("hooks"):
            hooks = re.findall(r"on_\w+", line)
            assert hooks == sorted(hooks, key=list(HOOKS).index)


IMPORTED = "from pathlib import Path; Path('imported').write_text('')"


@pytest.mark.parametrize("how", ["unlisted", "switch", "variable", "table"])
def test_the_listing_imports_no_foreign_plugin_that_is_not_enabled(install, monkeypatch, tmp_path, how):
    monkeypatch.chdir(tmp_path)
    install("acme-loud", {"loud": "acme_loud:Loud"}, acme_loud=IMPORTED)
    arguments = ["-p", "no:loud"] if how == "switch" else []
    if how == "variable":
        monkeypatch.setenv("RNNCALLBACKS_DISABLE", "loud")
    if how == "table":
        (tmp_path / "rnncallbacks.toml").write_text("[plugins.loud]\nenabled = false\n")
    shown = " ".join(call("plugins", *arguments).output.split())
    assert f"loud acme-loud 1.0 {'not enabled' if how == 'unlisted' else 'disabled'}" in shown
    assert "not imported" in shown
    assert not (tmp_path / "imported").exists()
    call("plugins", "-v", *arguments)
    assert (tmp_path / "imported").exists() == (how == "unlisted")
