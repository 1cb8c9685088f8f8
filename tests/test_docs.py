"""The reference lists everything there is, and the README's examples run."""

import inspect
import re
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

from rnncallbacks import hookspecs
from rnncallbacks.alarms import CATALOGUE
from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.discovery import find_plugins

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"


def load_extension() -> ModuleType:
    """The documentation's own extension, which lies outside any package."""
    spec = spec_from_file_location("generated", ROOT / "docs" / "_ext" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generated = load_extension()


def missing_from(text: str, words: Iterable[str]) -> list[str]:
    """The words that do not stand in the text as words of their own."""
    return [word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]


def shipped() -> list[str]:
    return [found.name for found in find_plugins() if found.distribution == "rnncallbacks"]


def sections(page: str, level: int) -> dict[str, str]:
    """The text under each heading of a level, by the heading without backticks."""
    parts = re.split(rf"^{'#' * level} +(.+)$", (REFERENCE / page).read_text("utf-8"), flags=re.M)
    titled = zip(parts[1::2], parts[2::2], strict=True)
    return {title.replace("`", "").strip(): text for title, text in titled}


HOOKS = {name: inspect.signature(hook) for name, hook in vars(hookspecs).items() if name.startswith("on_")}


def test_every_hook_and_argument_is_in_the_reference() -> None:
    text = (REFERENCE / "hooks.md").read_text("utf-8")
    assert missing_from(text, HOOKS) == []
    for name, signature in HOOKS.items():
        paragraph = text[text.index(name) :]
        assert missing_from(paragraph, signature.parameters) == [], name


def test_every_plugin_has_a_section_that_shows_its_class() -> None:
    found = sections("plugins.md", 3)
    assert [name for name in shipped() if name not in found] == []
    for plugin in find_plugins():
        if plugin.distribution == "rnncallbacks":
            factory = plugin.load()
            assert f"{factory.__module__}.{factory.__qualname__}" in found[plugin.name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", shipped())
def test_every_option_is_described_where_the_reference_takes_its_table_from(name: str) -> None:
    (plugin,) = [found for found in find_plugins() if found.name == name and found.distribution == "rnncallbacks"]
    assert generated.undescribed_options(plugin.load()) == []


def test_an_option_without_a_description_is_noticed() -> None:
    def factory(described: int = 1, forgotten: int = 2) -> None:
        """Makes nothing.

        Options
        -------
        described:
            What it means.
        renamed:
            An option of the past.
        """

    assert generated.undescribed_options(factory) == ["forgotten", "renamed"]


def test_a_command_s_table_has_each_of_its_options() -> None:
    for command in generated.commands().values():
        lines = "\n".join(generated.command_lines(command))
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        assert missing_from(lines, options) == []


def test_every_alarm_code_has_its_cause_in_the_reference() -> None:
    text = (REFERENCE / "alarms.md").read_text("utf-8")
    assert missing_from(text, CATALOGUE) == []
    assert missing_from(text, [entry.cause for entry in CATALOGUE.values()]) == []


def test_every_command_has_a_section_that_lists_its_options_from_the_code() -> None:
    found = sections("command-line.md", 2)
    for name in rnncallbacks.commands:
        assert f"```{{command}} {name}\n" in found[f"rnncallbacks {name}"]


def test_the_check_fails_for_what_is_missing() -> None:
    assert missing_from("`on_backward(run)` and max_norm", ["on_backward", "run", "max_norm"]) == []
    assert missing_from("on_backwards, --seed-all", ["on_backward", "--seed", "run"]) == [
        "on_backward",
        "--seed",
        "run",
    ]


def test_the_first_two_blocks_of_the_readme_are_the_two_commands() -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), flags=re.M | re.S)
    assert [len(block.splitlines()) for block in blocks[:2]] == [1, 1]
    assert blocks[0].strip().endswith("rnncallbacks train")
    assert blocks[1].strip().endswith("pytest")


def test_the_python_blocks_of_the_readme_run() -> None:
    examples = list(Sybil([PythonCodeBlockParser()]).parse(ROOT / "README.md").examples())
    assert examples
    for example in examples:
        example.evaluate()
