"""The first tutorial shows what the program really prints: its stable parts are compared with a short run.

Numbers and the wording of alarms are those of the day on which ``docs/_ext/first_run.py`` wrote them.
"""

from __future__ import annotations

import math
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.cli.commands import rnncallbacks

SCRIPT = Path(__file__).parents[1] / "docs" / "_ext" / "first_run.py"
REGENERATE = f"run: python {SCRIPT.relative_to(Path(__file__).parents[1])}"


def load_script() -> ModuleType:
    spec = spec_from_file_location("first_run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


first_run = load_script()
PAGE: str = first_run.PAGE.read_text("utf-8")
SHOWN: dict[str, str] = first_run.blocks_in(PAGE)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The blocks of a short run on a small text."""
    folder = tmp_path_factory.mktemp("first_run")
    (folder / "text.txt").write_text("it is what it is, and that is that. " * 60)
    arguments = ["--epochs", "5", "--hidden-size", "8", "--batch-size", "4", "--sample", "10"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for variable in ("RNNCALLBACKS_PLUGINS", "RNNCALLBACKS_DISABLE"):
            patch.delenv(variable, raising=False)
        done = CliRunner().invoke(rnncallbacks, ["train", "text.txt", *arguments])
    assert done.exit_code == 0, done.output
    blocks: dict[str, str] = first_run.blocks_of_training(done.stdout)
    return blocks


def fields(head: str) -> dict[str, str]:
    """The values of the head by name, each on one line."""
    unfolded = re.sub(r"\n +", " ", head)
    return dict(re.split(r" {2,}|(?<=folder) ", line, maxsplit=1) for line in unfolded.splitlines())


def words(line: str) -> list[str]:
    """The labels of an epoch's line, without their numbers."""
    return [re.sub(r" *[-\d./e+%]+s?$", "", part).split("/")[0] for part in line.split("  ")]


def test_the_head_has_the_same_fields_and_plugins(output: dict[str, str]) -> None:
    shown, real = fields(SHOWN["head"]), fields(output["head"])
    assert list(shown) == list(real), REGENERATE
    assert shown["plugins"] == real["plugins"], REGENERATE
    assert "progress_guard" in shown["plugins"]


def test_an_epoch_has_the_same_numbers_and_each_is_explained(output: dict[str, str]) -> None:
    for shown, real in zip(SHOWN["epochs"].splitlines(), output["epochs"].splitlines(), strict=True):
        assert words(shown) == words(real), REGENERATE
    explained = re.findall(r"^\| `([\w ]+)` \|", PAGE, re.MULTILINE)
    assert explained == [word for word in words(SHOWN["epochs"].splitlines()[0]) if word and word != "epoch"]


def test_the_end_has_the_same_form(output: dict[str, str]) -> None:
    for block in ("checks", "comparison"):
        first = [re.sub(r"[\d.]+$", "", text[block].splitlines()[0]) for text in (SHOWN, output)]
        assert first[0] == first[1], REGENERATE
    shown, real = (re.findall(r"^  (.+?) +[\d.]+$", text["comparison"], re.MULTILINE) for text in (SHOWN, output))
    assert shown == real
    assert "fired" not in SHOWN["checks"]
    assert "The network learned: it beats the trigram model" in SHOWN["comparison"]


def test_titles_of_codes_are_those_of_the_catalogue() -> None:
    for code, title in re.findall(
        r"^ +(?:consequence: )?(RNN\d+) ([^:(\n]+?)(?= \(|:|$)", SHOWN["alarm"] + "\n" + SHOWN["checks"], re.M
    ):
        assert title == CATALOGUE[code].cause, REGENERATE
    assert re.search(r"^  RNN501 .*?^    remedy: divide the learning rate", SHOWN["alarm"], re.MULTILINE | re.DOTALL)


def test_numbers_in_the_prose_are_those_of_the_run() -> None:
    characters = int(re.search(r"(\d+) different", SHOWN["head"])[1])  # type: ignore[index]
    assert f"each of {characters} characters" in PAGE
    assert f"ln {characters}, about {math.log(characters):.2f}" in PAGE
    assert first_run.fill(PAGE, SHOWN) == PAGE


def test_filling_the_page_replaces_each_block_and_refuses_one_that_is_not_there() -> None:
    filled = first_run.fill(PAGE, {"head": "text  50 different", "epochs": "epoch 1/1"})
    assert first_run.blocks_in(filled) == SHOWN | {"head": "text  50 different", "epochs": "epoch 1/1"}
    assert "each of 50 characters" in filled
    assert "ln 50, about 3.91" in filled
    with pytest.raises(ValueError, match="expected one block '<!-- output: tail -->', found 0"):
        first_run.fill(PAGE, {"tail": ""})
