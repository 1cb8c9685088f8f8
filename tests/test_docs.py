"""The reference lists everything there is, and every example of the documentation runs.

Each rule is a function from a page and what the code has to what the page lacks. It is run on the page, where it must
find nothing, and with one thing more than the page knows, where it must find that.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import click
import numpy as np
import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

import rnncallbacks
from rnncallbacks import Run, recommended
from rnncallbacks.alarms import catalogue
from rnncallbacks.alarms.catalogue import CATALOGUE, Entry
from rnncallbacks.cli.explain import raised_by
from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.core import plugin_attributes
from rnncallbacks.core.hookspecs import HOOKS
from rnncallbacks.plugins import GradientClipping

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"


def load_extension() -> ModuleType:
    """The documentation's own extension, which lies outside any package."""
    spec = spec_from_file_location("generated", DOCS / "_ext" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generated = load_extension()


def reference(page: str) -> str:
    return (DOCS / "reference" / page).read_text("utf-8")


def sections(page: str, level: int) -> dict[str, str]:
    """The text under each heading of a level, by the heading without backticks."""
    parts = re.split(rf"^{'#' * level} +(.+)$", page, flags=re.MULTILINE)
    return {title.replace("`", "").strip(): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


# --- the rules ---------------------------------------------------------------------------------------------------


def missing_hooks(page: str, hooks: Mapping[str, Iterable[str]]) -> list[str]:
    """A hook has a section headed by its signature, which explains each argument and says what may be changed."""
    found = sections(page, 2)
    headings = {hook: f"{hook}({', '.join(arguments)})" for hook, arguments in hooks.items()}
    missing = [heading for heading in headings.values() if heading not in found]
    for hook, arguments in hooks.items():
        text = found.get(headings[hook], "")
        missing += [f"{hook}: {one}" for one in arguments if not re.search(rf"^`{one}`\n: \S", text, re.MULTILINE)]
        missing += [f"{hook}: what may be changed"] * ("\nMay be changed: " not in text)
    return missing + [f"no such hook: {heading}" for heading in found if heading not in headings.values()]


def missing_plugins(page: str, classes: Mapping[str, str]) -> list[str]:
    """A plugin has a section that shows its class."""
    found = sections(page, 3)
    missing = [name for name, path in classes.items() if f".. autoclass:: {path}\n" not in found.get(name, "")]
    return missing + [f"no such plugin: {name}" for name in found if name not in classes]


def wrong_codes(
    pages: Mapping[str, str], entries: Mapping[str, Entry], plugins: Mapping[str, Iterable[str]]
) -> list[str]:
    """A code has a page whose head says what the catalogue and the plugins say of it, and the same sections as all."""
    wrong = []
    for code, entry in entries.items():
        head, about, *rest = pages.get(code, "\n\n").split("\n\n")
        wrong += [f"{code}: title"] * (head != f"# {code}: {entry.cause}")
        by = ", ".join(f"`{name}`" for name in plugins.get(code, ()))
        explains = ", ".join(f"`{one}`" for one in entry.explains)
        expected = f"Severity: {entry.severity}. Raised by {by}." + (f" Explains {explains}." if explains else "")
        wrong += [f"{code}: expected {expected}"] * (" ".join(about.split()) != expected)
        titles = [part.splitlines()[0] for part in rest if part.startswith("#")]
        wrong += [f"{code}: sections {titles}"] * (titles != SECTIONS)
    return wrong


SECTIONS = [f"## {title}" for title in ("What it means", "How it is detected", "Evidence", "What to do", "Limits")]


def missing_commands(page: str, commands: Mapping[str, click.Command]) -> list[str]:
    """A command has a section with its generated table, in which each option is explained; arguments are in words."""
    found = sections(page, 2)
    missing = []
    for name, command in commands.items():
        text = found.get(f"rnncallbacks {name}", "")
        if f"```{{command}} {name}\n" not in text:
            missing.append(name)
        table = "\n".join(generated.command_lines(command))
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                missing += [f"{name}: {option}" for option in parameter.opts if f"`{option}`" not in table]
                missing += [f"{name}: {parameter.opts[0]}: help"] * (not parameter.help)
            else:
                words = parameter.make_metavar(click.Context(command)).strip("[].")
                missing += [f"{name}: {words}"] * (f"`{words}`" not in text)
    return missing


def missing_words(page: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if f"`{word}`" not in page]


# --- the reference has it all ------------------------------------------------------------------------------------

CLASSES: dict[str, str] = generated.plugin_classes()
COMMANDS: dict[str, click.Command] = generated.commands()
PAGES = {code: catalogue.page(code) for code in CATALOGUE}


def class_of(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def test_the_plugins_asked_about_are_those_that_are_installed() -> None:
    assert set(CLASSES) == {found.name for found in find_plugins() if found.distribution == "rnncallbacks"}
    assert len(CLASSES) >= 16


def test_hooks_are_in_the_reference() -> None:
    assert missing_hooks(reference("hooks.md"), HOOKS) == []


def test_plugins_are_in_the_reference() -> None:
    assert missing_plugins(reference("plugins.md"), CLASSES) == []


@pytest.mark.parametrize("name", CLASSES)
def test_options_are_described_where_the_reference_takes_them_from(name: str) -> None:
    factory = class_of(CLASSES[name])
    assert generated.undescribed_options(factory) == []
    table = "\n".join(generated.options_table(factory))
    assert missing_words(table, [field.alias for field in attrs.fields(factory) if field.init]) == []


def test_every_alarm_code_has_a_page_that_agrees_with_it() -> None:
    assert wrong_codes(PAGES, CATALOGUE, raised_by()) == []


def test_the_table_of_codes_links_to_the_page_of_each(tmp_path: Path) -> None:
    generated.write_code_pages(tmp_path)
    table = "\n".join(generated.codes_table())
    assert re.findall(r"^\| \[(\w+)\]\(alarms/(\w+)\.md\)", table, re.MULTILINE) == [(c, c) for c in sorted(CATALOGUE)]
    assert "```{codes}\n" in reference("alarms.md")
    assert {path.stem for path in tmp_path.iterdir()} == set(CATALOGUE)


def test_pages_of_codes_link_to_other_codes_and_to_plugins() -> None:
    page = generated.code_page("RNN201")
    assert "[`RNN601`](RNN601.md)" in page
    assert "[`hidden_state_guard`](../plugins.md#hidden_state_guard)" in page
    assert "](RNN201.md)" not in page
    # Nothing but links is added.
    assert re.sub(r"\[(`\w+`)\]\([\w./#]+\)", r"\1", page) == PAGES["RNN201"]


def test_pages_of_codes_that_are_gone_are_taken_away(tmp_path: Path) -> None:
    (tmp_path / "RNN999.md").touch()
    (tmp_path / "RNN601.md").write_text("as it was long ago")
    generated.write_code_pages(tmp_path)
    assert not (tmp_path / "RNN999.md").exists()
    assert (tmp_path / "RNN601.md").read_text("utf-8") == generated.code_page("RNN601")


def test_commands_and_their_options_are_in_the_reference() -> None:
    assert missing_commands(reference("command-line.md"), COMMANDS) == []


def test_settings_are_options_of_the_command() -> None:
    """The page on configuration says so, and does not list them again."""
    options = [option for parameter in COMMANDS["train"].params for option in parameter.opts]
    names = [f"--{field.name.replace('_', '-')}" for field in attrs.fields(Settings) if field.name != "text"]
    assert set(names) <= set(options)


def test_attributes_of_plugins_are_in_the_reference() -> None:
    protocols = [kind for kind in vars(plugin_attributes).values() if getattr(kind, "_is_protocol", False)]
    names = {name for kind in protocols for name in vars(kind) if not name.startswith("_")}
    assert names > {"action", "repairs"}
    page = reference("python/plugins.md")
    assert [name for name in names if f"\n`{name}`\n: " not in page and f"\n`{name}(self" not in page] == []


def test_public_names_are_in_the_reference() -> None:
    assert missing_words(reference("python/index.md"), rnncallbacks.__all__) == []


# --- each rule notices what is missing ---------------------------------------------------------------------------


def without_a_page() -> None:
    """Makes nothing.

    Options
    -------
    renamed:
        An option of the past.
    """


@click.command("train")
@click.argument("unheard_of")
@click.option("--forgotten")
def unexplained() -> None:
    """Says nothing of its parameters."""


@pytest.mark.parametrize(
    ("rule", "page", "has", "lacks"),
    [
        (missing_hooks, "hooks.md", HOOKS | {"on_step": ("run",)}, "on_step(run)"),
        (missing_hooks, "hooks.md", HOOKS | {"on_backward": ("run", "batch", "grads", "closure")}, "closure"),
        (missing_hooks, "hooks.md", {"on_fit_end": ("run",)}, "no such hook: on_backward(run, batch, grads)"),
        (missing_plugins, "plugins.md", CLASSES | {"teacher_forcing": "a.TeacherForcing"}, "teacher_forcing"),
        (missing_plugins, "plugins.md", CLASSES | {"warmup": "a.OtherWarmup"}, "warmup"),
        (missing_plugins, "plugins.md", {"warmup": CLASSES["warmup"]}, "no such plugin: step_decay"),
        (missing_commands, "command-line.md", COMMANDS | {"cure": unexplained}, "cure"),
        (missing_commands, "command-line.md", {"train": unexplained}, "train: --forgotten: help"),
        (missing_commands, "command-line.md", {"train": unexplained}, "train: UNHEARD_OF"),
        (missing_words, "python/index.md", [*rnncallbacks.__all__, "Callback"], "Callback"),
    ],
)
def test_a_rule_notices_what_the_page_lacks(rule: Callable[..., list[str]], page: str, has: Any, lacks: str) -> None:
    assert any(lacks in found for found in rule(reference(page), has))


@pytest.mark.parametrize(
    ("code", "entry", "plugins", "wrong"),
    [
        ("RNN999", CATALOGUE["RNN601"], {}, "title"),
        ("RNN601", Entry("rest", "warning", ""), {}, "title"),
        ("RNN601", Entry("plateau", "error", ""), {}, "expected Severity: error."),
        ("RNN601", Entry("plateau", "warning", "", explains="RNN605"), {}, "Explains `RNN605`."),
        ("RNN601", CATALOGUE["RNN601"], {"RNN601": ["a_new_guard"]}, "Raised by `a_new_guard`."),
    ],
)
def test_a_page_of_a_code_that_disagrees_is_noticed(code: str, entry: Entry, plugins: Any, wrong: str) -> None:
    found = wrong_codes(PAGES, {code: entry}, {**raised_by(), **plugins})
    assert any(one.startswith(f"{code}: ") and wrong in one for one in found)


@pytest.mark.parametrize(("change", "wrong"), [("## Evidence", "sections"), ("Raised by", "expected Severity")])
def test_a_page_of_a_code_that_lacks_something_is_noticed(change: str, wrong: str) -> None:
    pages = {"RNN601": PAGES["RNN601"].replace(change, "", 1)}
    assert any(wrong in one for one in wrong_codes(pages, {"RNN601": CATALOGUE["RNN601"]}, raised_by()))


@pytest.mark.parametrize(("hook", "argument"), [(hook, argument) for hook in HOOKS for argument in HOOKS[hook]])
def test_no_argument_of_a_hook_can_be_left_out(hook: str, argument: str) -> None:
    before, heading, after = reference("hooks.md").partition(f"## `{hook}(")
    left_out = before + heading + after.replace(f"\n`{argument}`\n: ", "\n", 1)
    assert missing_hooks(left_out, HOOKS) == [f"{hook}: {argument}"]


def test_an_option_without_a_description_is_noticed() -> None:
    class Clipping(GradientClipping):
        """Without a word on its new option.

        Options
        -------
        renamed:
            An option of the past.
        """

        def __init__(self, max_norm: float = 5.0, mode: str = "global", forgotten: int = 2) -> None: ...

    assert generated.undescribed_options(Clipping) == ["forgotten", "renamed"]
    assert generated.undescribed_options(without_a_page) == ["renamed"]


# --- the examples run --------------------------------------------------------------------------------------------


def run_examples(page: Path) -> dict[str, Any]:
    """Run a page's Python blocks one after the other, and return the names that they leave."""
    document = Sybil([PythonCodeBlockParser()]).parse(page)
    for example in document.examples():
        example.evaluate()
    return document.namespace


@pytest.mark.parametrize(
    "page",
    [page for page in sorted(DOCS.rglob("*.md")) if "```python" in page.read_text("utf-8")],
    ids=lambda page: page.relative_to(DOCS).as_posix(),
)
def test_the_examples_of_the_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_examples(page)


def test_the_loop_of_the_tutorial_learns() -> None:
    losses = run_examples(DOCS / "tutorial" / "own-loop.md")["run"].history["train_loss"]
    assert losses[-1] < 0.01 * losses[0]


def test_the_trainer_of_the_readme_shows_its_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    history = run_examples(README)["history"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:5]] == [["epoch", f"{epoch}/5"] for epoch in range(1, 6)]
    assert len(history) == 5


def blocks_of(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_readme_begins_with_the_two_commands() -> None:
    first, second = blocks_of(README, "console")[:2]
    assert [first.count("\n"), second.count("\n")] == [1, 1]
    assert first.endswith("rnncallbacks train\n")
    assert second.endswith("pytest -n auto\n")


def test_the_readme_begins_with_a_script_and_what_the_doctor_prints_of_it(
    run_python: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (loop,) = blocks_of(README, "py")
    found, checked = blocks_of(README, "text")
    command, _, found = found.partition("\n")
    *_, script = command.split()
    assert textwrap.indent(loop, " " * 8) in (ROOT / script).read_text("utf-8")
    assert command == f"$ rnncallbacks doctor {script}"
    monkeypatch.chdir(ROOT)
    done = run_python("from rnncallbacks.cli import main; main()", "doctor", script)
    assert done.returncode == 1, done.stderr
    words = " ".join(done.stdout.split())
    for passage in re.split(r"^ *\.\.\.$", f"{found}...\n{checked}", flags=re.MULTILINE):
        assert " ".join(passage.split()) in words
    # The script is told what the wrapped one is told, whatever the README shows of it.
    assert all(told in words for told in ("loss loss certain", "learning rate 0.5,", "epoch loss train_losses"))
    assert all(f"{code} the" in words.partition("fired")[2] for code in ("RNN301", "RNN201"))


def test_code_of_the_readme_that_is_longer_than_ten_lines_comes_behind_the_diagnosis_and_the_diff() -> None:
    text = README.read_text("utf-8")
    long = [block for block in blocks_of(README, "python") if block.count("\n") > 10]
    assert all(text.index(block) > text.index(blocks_of(README, "diff")[0]) for block in long)
    assert text.index(blocks_of(README, "diff")[0]) > text.index(blocks_of(README, "text")[1])


def test_the_six_lines_that_the_readme_adds_train() -> None:
    (difference,) = blocks_of(README, "diff")
    lines = difference.splitlines()
    assert sum(line.startswith("+") for line in lines) == 6
    weights = {"w": np.ones(1)}

    def forward_and_backward(x: float, y: float, hidden: Any, params: Any) -> tuple[float, dict[str, Any]]:
        error = params["w"] * x - y + hidden.sum()
        return float(error[0] ** 2), {"w": 2 * x * error}

    def update(params: Any, grads: Any, lr: float) -> None:
        params["w"] -= lr * grads["w"]

    names: dict[str, Any] = {
        "Run": Run,
        "recommended": recommended,
        "params": weights,
        "batches": [(1.0, 2.0), (1.0, 2.0)],
        "forward_and_backward": forward_and_backward,
        "update": update,
    }
    exec("\n".join(line[1:] for line in lines if not line.startswith("-")), names)
    assert abs(weights["w"][0] - 2.0) < 1e-6
    assert names["run"].history[-1]["train_loss"] < 1e-6


def test_the_readme_names_every_plugin() -> None:
    assert missing_words(README.read_text("utf-8"), CLASSES) == []


def test_every_page_of_the_documentation_that_is_linked_exists() -> None:
    for page in [README, *DOCS.rglob("*.md")]:
        text = page.read_text("utf-8")
        links = re.findall(r"\]\(((?!https?:)[^)#]+)", text)
        links += [f"{name}.md" for name in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", text)]
        assert [link for link in links if not (page.parent / link).exists()] == [], page
