"""Reads the imports and holds the picture: which module may know which, and what the package has none of.

Each rule is a function from the source to its violations. Each is run on the package, where it must find none, and on a
small tree made to break it, where it must find some.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "rnncallbacks"

FOUNDATION = {"arrays", "catalogue", "checks", "errors", "files", "options"}
NUMERICS = FOUNDATION | {"gradients", "hidden", "learning_rate", "monitor", "rnn", "schedules"}
CORE = NUMERICS | {"alarms", "diagnosis", "evidence", "guarding", "history", "hookspecs", "manager", "records", "run"}
BUILT_ON_THE_CORE = {"checkpoint", "cli", "config", "discovery", "plugins", "reporting", "testing", "trainer"}

# What a rule would refuse and is right all the same, with the reason.
ALLOWED = {
    ("errors", "alarms"): "AlarmRaised names the type of the alarm that it carries; nothing is imported at run time",
    ("plugins.early_stopping", "plugins.plateau_alarm"): "early stopping is a plateau alarm with other defaults",
}


@attrs.frozen
class Import:
    """``importer`` and ``imported`` are modules of the package, without its name; "" is the package itself."""

    importer: str
    imported: str
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer or PACKAGE} imports {self.imported or PACKAGE}"


class Source:
    """The parsed modules of a package, by dotted name within it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, ast.Module] = {}
        self._packages: set[str] = set()
        for path in sorted((root / "src" / PACKAGE).rglob("*.py")):
            parts = list(path.relative_to(root / "src" / PACKAGE).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
                self._packages.add(".".join(parts))
            self.modules[".".join(parts)] = ast.parse(path.read_text("utf-8"), filename=str(path))
        self.imports = [found for name, tree in self.modules.items() for found in self._imports(name, tree, False)]

    def _imports(self, importer: str, node: ast.AST, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                base = self._absolute(importer, child)
                names = [f"{base}.{alias.name}" for alias in child.names]
            else:
                inside = for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
                yield from self._imports(importer, child, inside)
                continue
            for name in names:
                if name.split(".")[0] == PACKAGE:
                    yield Import(importer, self._module_of(name), for_types)

    def _absolute(self, importer: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        above = [PACKAGE, *importer.split(".")] if importer else [PACKAGE]
        kept = len(above) - node.level + (importer in self._packages)
        return ".".join([*above[:kept], *([node.module] if node.module else [])])

    def _module_of(self, name: str) -> str:
        """The module in which a dotted name lies: the name itself, or what is left of it without its last words."""
        inner = name.removeprefix(PACKAGE).removeprefix(".")
        while inner and inner not in self.modules:
            inner = inner.rpartition(".")[0]
        return inner


def part(module: str) -> str:
    return module.split(".")[0]


def allowed(found: Import) -> bool:
    return (found.importer, found.imported) in ALLOWED


# --- the rules ---------------------------------------------------------------------------------------------------


def numerics_know_nothing_above(source: Source) -> list[str]:
    return [
        str(found)
        for found in source.imports
        if part(found.importer) in NUMERICS
        and part(found.imported) not in FOUNDATION | {part(found.importer)}
        and not allowed(found)
    ]


def the_core_knows_nothing_built_on_it(source: Source) -> list[str]:
    return [
        str(found)
        for found in source.imports
        if part(found.importer) in CORE and part(found.imported) in BUILT_ON_THE_CORE
    ]


def nobody_imports_a_plugin(source: Source) -> list[str]:
    """Not even their own package, except for types: a plugin that is disabled must not be imported."""
    found_imports = [
        str(found)
        for found in source.imports
        if found.imported.startswith("plugins.")
        and not found.importer.startswith("plugins.")
        and not (found.importer == "plugins" and found.for_types)
    ]
    by_name = [
        f"{module} names {node.value}"
        for module, tree in source.modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(rf"{PACKAGE}\.plugins\.\w+(:\w+)?", node.value)
    ]
    return found_imports + by_name


def plugins_are_blind_to_each_other(source: Source) -> list[str]:
    return [
        str(found)
        for found in source.imports
        if found.importer.startswith("plugins.") and found.imported.startswith("plugins.") and not allowed(found)
    ]


def plugins_know_nothing_that_drives_them(source: Source) -> list[str]:
    drivers = {"", "cli", "config", "discovery", "manager", "reporting", "testing", "trainer"}
    return [
        str(found) for found in source.imports if part(found.importer) == "plugins" and part(found.imported) in drivers
    ]


def hookspecs_name_types_only(source: Source) -> list[str]:
    return [str(found) for found in source.imports if found.importer == "hookspecs" and not found.for_types]


def the_trainer_uses_run(source: Source) -> list[str]:
    if any(found.importer == "trainer" and found.imported == "run" and not found.for_types for found in source.imports):
        return []
    return ["trainer does not import run"]


def nothing_imports_what_sits_on_top(source: Source) -> list[str]:
    may_import = {"cli": {"cli", "__main__"}, "reporting": {"cli", "reporting"}, "testing": {"testing"}}
    return [
        str(found)
        for found in source.imports
        if part(found.importer) not in may_import.get(part(found.imported), {part(found.importer)})
    ]


def imports_have_no_cycle(source: Source) -> list[str]:
    """Imports inside functions count: putting one there hides a cycle and does not remove it."""
    edges: dict[str, set[str]] = {module: set() for module in source.modules}
    for found in source.imports:
        if not found.for_types and found.imported != found.importer:
            edges[found.importer].add(found.imported)
    while leaves := [module for module, targets in edges.items() if not targets]:
        for leaf in leaves:
            del edges[leaf]
        for targets in edges.values():
            targets.difference_update(leaves)
    return [f"{module or PACKAGE} is in a cycle or imports one: {sorted(targets)}" for module, targets in edges.items()]


def only_the_command_line_prints(source: Source) -> list[str]:
    return [
        f"{module}:{node.lineno} prints"
        for module, tree in source.modules.items()
        if part(module) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "builtins.print")
    ]


def no_module_is_a_drawer(source: Source) -> list[str]:
    drawers = {"common", "helpers", "misc", "util", "utilities", "utils"}
    return [module for module in source.modules if module.split(".")[-1].strip("_") in drawers]


def no_plugin_manager_is_global(source: Source) -> list[str]:
    managers = {"PluginManager"} | {
        node.name
        for node in ast.walk(source.modules.get("manager", ast.Module([], [])))
        if isinstance(node, ast.ClassDef)
    }

    def calls_at_import(node: ast.AST) -> Iterator[ast.Call]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if isinstance(child, ast.Call):
                yield child
            yield from calls_at_import(child)

    return [
        f"{module}:{call.lineno} makes {ast.unparse(call.func)}"
        for module, tree in source.modules.items()
        for call in calls_at_import(tree)
        if ast.unparse(call.func).split(".")[-1] in managers
    ]


def no_class_stands_beside_the_hook_specs(source: Source) -> list[str]:
    return [
        f"{module}: class {node.name}"
        for module, tree in source.modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and re.fullmatch(r"(Base|Abstract)?(Callback|Plugin|Event|Hook)", node.name)
    ]


def plugins_have_one_spelling(source: Source) -> list[str]:
    """Entry point, module and class of a plugin are one name, and each plugin has all three."""
    project = tomllib.loads((source.root / "pyproject.toml").read_text("utf-8"))["project"]
    entry_points: dict[str, str] = project["entry-points"][f"{PACKAGE}.plugins"]
    problems = []
    for name, value in entry_points.items():
        class_name = "".join(word.capitalize() for word in name.split("_"))
        if value != f"{PACKAGE}.plugins.{name}:{class_name}":
            problems.append(f"{name} = {value}")
        elif f"plugins.{name}" not in source.modules:
            problems.append(f"{name} has no module")
        elif class_name not in {
            node.name for node in source.modules[f"plugins.{name}"].body if isinstance(node, ast.ClassDef)
        }:
            problems.append(f"plugins.{name} has no class {class_name}")
    modules = {module.removeprefix("plugins.") for module in source.modules if module.startswith("plugins.")}
    return problems + [f"plugins.{name} has no entry point" for name in sorted(modules - set(entry_points))]


# --- each rule on the package, and on a tree that breaks it ------------------------------------------------------

ENTRY_POINTS = '[project.entry-points."rnncallbacks.plugins"]\n'
WARMUP = ENTRY_POINTS + 'warmup = "rnncallbacks.plugins.warmup:Warmup"\n'

# Rule to trees that break it, each as module to code.
BROKEN: dict[Callable[[Source], list[str]], list[dict[str, str]]] = {
    numerics_know_nothing_above: [
        {"gradients": "from rnncallbacks.run import Run", "run": ""},
        {"rnn/model": "from rnncallbacks.gradients import clip", "gradients": ""},
        {"rnn/model": "from ..run import Run", "run": ""},
        {"monitor": "def f():\n    import rnncallbacks.alarms", "alarms": ""},
        {"schedules": "import typing\nif typing.TYPE_CHECKING:\n    from rnncallbacks import run", "run": ""},
    ],
    the_core_knows_nothing_built_on_it: [
        {"run": "from rnncallbacks import trainer", "trainer": ""},
        {"manager": "from rnncallbacks.plugins.warmup import Warmup", "plugins/warmup": ""},
    ],
    nobody_imports_a_plugin: [
        {"trainer": "from rnncallbacks.plugins import warmup", "plugins/warmup": ""},
        {"__init__": "from .plugins.warmup import Warmup", "plugins/warmup": ""},
        {"plugins/__init__": "from .warmup import Warmup", "plugins/warmup": ""},
        {"config": "names = ['rnncallbacks.plugins.warmup']"},
        {
            "run": "import typing\nif typing.TYPE_CHECKING:\n    import rnncallbacks.plugins.warmup",
            "plugins/warmup": "",
        },
    ],
    plugins_are_blind_to_each_other: [
        {"plugins/warmup": "from rnncallbacks.plugins.progress import Progress", "plugins/progress": ""},
        {"plugins/__init__": "", "plugins/warmup": "from . import progress", "plugins/progress": ""},
    ],
    plugins_know_nothing_that_drives_them: [
        {"plugins/warmup": "from rnncallbacks.manager import Plugins", "manager": ""},
        {"__init__": "from rnncallbacks.run import Run", "run": "", "plugins/warmup": "from rnncallbacks import Run"},
    ],
    hookspecs_name_types_only: [{"hookspecs": "from rnncallbacks.run import Run", "run": ""}],
    the_trainer_uses_run: [{"trainer": "import rnncallbacks.manager", "manager": "", "run": ""}],
    nothing_imports_what_sits_on_top: [
        {"trainer": "from rnncallbacks.cli import main", "cli": ""},
        {"plugins/progress": "from rnncallbacks.reporting.terminal import show", "reporting/terminal": ""},
        {"run": "import rnncallbacks.testing", "testing/__init__": ""},
    ],
    imports_have_no_cycle: [
        {"run": "import rnncallbacks.manager", "manager": "def f():\n    from rnncallbacks.run import Run"},
        {"__init__": "from rnncallbacks.run import Run", "run": "from rnncallbacks import Run"},
    ],
    only_the_command_line_prints: [{"run": "def f():\n    print('loss')"}],
    no_module_is_a_drawer: [{"utils": ""}, {"rnn/_helpers": ""}],
    no_plugin_manager_is_global: [
        {"run": "import pluggy\nmanager = pluggy.PluginManager('rnncallbacks')"},
        {"manager": "class Plugins: ...", "run": "class Run:\n    plugins = Plugins()"},
    ],
    no_class_stands_beside_the_hook_specs: [{"run": "class Callback: ..."}, {"hookspecs": "class Event: ..."}],
    plugins_have_one_spelling: [
        {"pyproject.toml": WARMUP},
        {"pyproject.toml": WARMUP, "plugins/warmup": "class WarmUp: ..."},
        {"pyproject.toml": ENTRY_POINTS, "plugins/warmup": "class Warmup: ..."},
        {"pyproject.toml": WARMUP.replace("warmup =", "warm_up ="), "plugins/warmup": "class Warmup: ..."},
        {"pyproject.toml": ENTRY_POINTS + 'a = "rnncallbacks.plugins.b:A"', "plugins/b": "class A: ..."},
    ],
}

# As near to a violation as the rules permit.
HARMLESS = {
    "__init__": "from rnncallbacks.run import Run",
    "arrays": "from rnncallbacks.errors import ShapeError",
    "cli": "from rnncallbacks.reporting import html\nprint('trained')",
    "config": "GROUP = 'rnncallbacks.plugins'",
    "errors": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rnncallbacks.alarms import Alarm",
    "alarms": "",
    "gradients": "from rnncallbacks.arrays import named_arrays",
    "hookspecs": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rnncallbacks.run import Run",
    "manager": "import pluggy\nclass Plugins:\n    def __init__(self):\n        self.pm = pluggy.PluginManager('a')",
    "plugins/__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .warmup import Warmup",
    "plugins/warmup": "from rnncallbacks.run import Run\nfrom ..schedules import warmup\nclass Warmup: ...",
    "reporting/html": "",
    "rnn/cells": "from .. import errors",
    "rnn/model": "from rnncallbacks.rnn.cells import Cell",
    "run": "from rnncallbacks.manager import Plugins\nclass BatchEvent: ...",
    "schedules": "",
    "trainer": "from rnncallbacks.run import Run",
    "pyproject.toml": WARMUP,
}


def write_tree(root: Path, tree: dict[str, str]) -> Source:
    (root / "pyproject.toml").write_text(ENTRY_POINTS)
    for name, code in tree.items():
        path = root / name if name.endswith(".toml") else root / "src" / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return Source(root)


@pytest.fixture(scope="module")
def package() -> Source:
    return Source(ROOT)


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Callable[[Source], list[str]], package: Source) -> None:
    assert rule(package) == []


@pytest.mark.parametrize(
    ("rule", "tree"),
    [(rule, tree) for rule, trees in BROKEN.items() for tree in trees],
    ids=[f"{rule.__name__}-{number}" for rule, trees in BROKEN.items() for number, _ in enumerate(trees)],
)
def test_the_rule_finds_what_breaks_it(
    rule: Callable[[Source], list[str]], tree: dict[str, str], tmp_path: Path
) -> None:
    assert rule(write_tree(tmp_path, tree))


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_the_rule_lets_the_harmless_pass(rule: Callable[[Source], list[str]], tmp_path: Path) -> None:
    assert rule(write_tree(tmp_path, HARMLESS)) == []


def test_every_exception_is_still_needed(package: Source) -> None:
    unused = set(ALLOWED) - {(found.importer, found.imported) for found in package.imports}
    assert not unused
