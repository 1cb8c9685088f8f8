"""``rnncallbacks explain``: a page, a list, and what is done about a typo."""

import re

import pytest
from click.testing import CliRunner

from rnncallbacks.alarms.catalogue import CATALOGUE, page
from rnncallbacks.bases.guard import Guard
from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.cli.explain import raised_by
from rnncallbacks.config.discovery import find_plugins


def explain(*arguments):
    return CliRunner().invoke(rnncallbacks, ["explain", *arguments])


@pytest.mark.parametrize("code", ["RNN201", "rnn201", "Rnn201"])
def test_a_code_gives_its_page_as_it_is(code):
    done = explain(code)
    assert (done.exit_code, done.stdout) == (0, page("RNN201"))


def test_without_a_code_all_are_listed_a_line_each():
    lines = explain().stdout.splitlines()
    assert lines[0].split() == ["code", "severity", "cause", "raised", "by"]
    plugins = raised_by()
    assert [re.split(r" {2,}", line) for line in lines[1:]] == [
        [code, CATALOGUE[code].severity, CATALOGUE[code].cause, ", ".join(plugins[code])] for code in sorted(CATALOGUE)
    ]


@pytest.mark.parametrize("beginning", ["RNN2", "rnn2", "RNN20"])
def test_the_beginning_of_codes_lists_these(beginning):
    codes = [line.split()[0] for line in explain(beginning).stdout.splitlines()[1:]]
    assert codes == ["RNN201", "RNN202", "RNN203"]


@pytest.mark.parametrize(
    ("typo", "hint"),
    [
        ("RNN2011", "did you mean 'RNN201'?"),
        ("RN602", "did you mean 'RNN602'?"),
        ("plateau", "run 'rnncallbacks explain' for all of them"),
    ],
)
def test_a_typo_gets_the_nearest_match(typo, hint):
    done = explain(typo)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: the catalogue has no code {typo.upper()!r}; {hint}\n"


def test_who_raises_a_code_is_known_of_every_code_and_every_guard():
    plugins = raised_by()
    assert plugins.keys() == CATALOGUE.keys()
    for found in find_plugins():
        factory = found.load()
        if isinstance(factory, type) and issubclass(factory, Guard):
            assert factory.codes
            assert all(found.name in plugins[code] for code in factory.codes)


def test_on_a_terminal_a_page_is_rendered_to_its_width(on_a_terminal):
    text = on_a_terminal("explain", "RNN201", columns=60)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert text != shown
    assert "## " not in shown
    assert "What to do" in shown
    assert max(len(line) for line in shown.splitlines()) <= 60


def test_on_a_terminal_the_list_fits_it(on_a_terminal):
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_a_terminal("explain", columns=60))
    assert max(len(line) for line in shown.splitlines()) <= 60
    assert "RNN701" in shown
