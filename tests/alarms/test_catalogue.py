"""The catalogue and its pages: every code has one, and nothing in them points to what is not there."""

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import walk_packages

import pytest

from rnncallbacks import detectors
from rnncallbacks.alarms.catalogue import CATALOGUE, SEVERITIES, page
from rnncallbacks.cli.explain import raised_by
from rnncallbacks.errors import OptionError

PAGES = {code: page(code) for code in CATALOGUE}
PLUGINS = {
    one.name: one.module
    for one in entry_points(group="rnncallbacks.plugins")
    if one.dist and one.dist.name == "rnncallbacks"
}


def test_codes_have_one_form_and_a_severity():
    assert len(CATALOGUE) >= 24
    for code, entry in CATALOGUE.items():
        assert re.fullmatch(r"RNN\d{3}", code)
        assert entry.severity in SEVERITIES
        assert entry.cause
        assert entry.remedy


def test_a_cause_explains_only_what_stands_behind_it():
    """So that there is no circle, and the first in the catalogue is the one to name."""
    order = list(CATALOGUE)
    for code, entry in CATALOGUE.items():
        assert all(order.index(code) < order.index(one) for one in entry.explains)
        assert len(entry.explains) == len(set(entry.explains))


def test_what_is_explained_only_later_is_told_apart_by_the_time_of_both():
    for entry in CATALOGUE.values():
        assert set(entry.explains_later) <= CATALOGUE.keys() - set(entry.explains)
        assert entry.may_be_initial or not entry.explains_later


@pytest.mark.parametrize("code", CATALOGUE)
def test_the_page_of_a_code_begins_with_its_cause(code):
    assert PAGES[code].splitlines()[0] == f"# {code}: {CATALOGUE[code].cause}"
    assert page(code.lower()) == PAGES[code]


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_page_names_only_codes_and_plugins_that_there_are(code):
    text = PAGES[code]
    assert set(re.findall(r"RNN\d+", text)) <= set(CATALOGUE)
    named = set(re.findall(r"`(\w+_(?:guard|alarm|reset|clipping|repair|averaging|stopping|selection|plateau))`", text))
    assert named <= PLUGINS.keys()


def detectors_of(code):
    """The modules in the paragraph below the head of a page, which begins with "Detector"."""
    paragraph = PAGES[code].split("\n\n")[2]
    assert re.match(r"Detectors?: `", paragraph)
    return re.findall(r"`([\w.]+)`", paragraph)


@pytest.mark.parametrize("code", CATALOGUE)
def test_the_detectors_that_a_page_names_can_be_imported(code):
    names = detectors_of(code)
    assert names
    assert len(names) == len(set(names))
    for name in names:
        assert import_module(name).__name__.startswith("rnncallbacks.")


def modules_in(package):
    """The names of all modules of a package."""
    return [one.name for one in walk_packages(package.__path__, f"{package.__name__}.")]


@pytest.mark.parametrize("module", modules_in(detectors))
def test_a_detector_is_named_by_the_pages_of_the_codes_that_it_reports(module):
    tree = ast.parse(inspect.getsource(import_module(module)))
    codes = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & set(CATALOGUE)
    assert {code for code in codes if module not in detectors_of(code)} == set()


def evidence_of(code):
    """The names in the section on evidence."""
    return set(re.findall(r"`(\w+)`", PAGES[code].partition("## Evidence\n")[2].partition("\n## ")[0])) - PLUGINS.keys()


@cache
def parsed(module):
    return ast.parse(inspect.getsource(import_module(module)))


def module_and_imports(module):
    """The names of a module and of those that it imports."""
    names = {module}
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rnncallbacks."):
            names.add(str(node.module))
    return names


@cache
def words_in(module):
    """Every text in a module, every fixed part of one that is put together, and every field of a class."""
    tree = parsed(module)
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    fields = [node.target for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    return words | {field.id for field in fields if isinstance(field, ast.Name)}


@pytest.mark.parametrize("code", CATALOGUE)
def test_the_evidence_that_a_page_names_is_what_plugins_give(code):
    modules = {*(PLUGINS[plugin] for plugin in raised_by()[code]), *detectors_of(code)}
    words = {word for module in modules for name in module_and_imports(module) for word in words_in(name)}
    endings = tuple(word for word in words if word.startswith("_") and len(word) > 4)
    assert {name for name in evidence_of(code) if name not in words and not name.endswith(endings)} == set()


@pytest.mark.parametrize("plugin", sorted({plugin for plugins in raised_by().values() for plugin in plugins}))
def test_the_evidence_that_plugins_give_is_on_a_page(plugin):
    documented = {name for code, plugins in raised_by().items() if plugin in plugins for name in evidence_of(code)}
    given = set()
    for function in ast.walk(ast.parse(inspect.getsource(import_module(PLUGINS[plugin])))):
        if isinstance(function, ast.FunctionDef):
            # What maps words to words is no evidence.
            dicts = [
                node
                for node in ast.walk(function)
                if isinstance(node, ast.Dict) and not all(isinstance(one, ast.Constant) for one in node.values)
            ]
            given |= {key.value for node in dicts for key in node.keys if isinstance(key, ast.Constant)}
    assert given - documented == set()


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_page_can_be_read_in_a_terminal(code):
    """Plain Markdown: no directives or roles of the documentation, fences that are closed, lines that fit."""
    text = PAGES[code]
    assert "{" not in re.sub(r"```diff\n.*?```|`[^`\n]+`", "", text, flags=re.DOTALL)
    assert len(re.findall(r"^```", text, flags=re.MULTILINE)) % 2 == 0
    assert max(map(len, text.splitlines())) <= 120
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_page_is_short(code):
    assert len(PAGES[code].split()) <= 350


@pytest.mark.parametrize(
    ("typo", "message"),
    [
        ("RNN2011", "has no code 'RNN2011'\n.*did you mean 'RNN201'"),
        ("rnn60", "has no code 'RNN60'\n.*did you mean 'RNN60"),
        ("fever", "has no code 'FEVER'\n.*rnncallbacks explain"),
        ("../RNN201", "has no code"),
    ],
)
def test_a_code_that_there_is_not(typo, message):
    with pytest.raises(OptionError, match=message):
        page(typo)
