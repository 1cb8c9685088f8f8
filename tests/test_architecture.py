"""The rules of the package's structure: which module may import which, names, lengths, and what must not occur.

Each rule is a function from the source to its violations. It must find none in the package, and some in each of the
small trees that are made to break it.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "rnncallbacks"

# Folders and modules of the package in the order of imports: each may import from the lines above its own. "" is the
# package itself, which exports the public names. CONTRIBUTING.md describes them.
ORDER = [
    {"errors"},
    {"arrays", "options", "files", "alarms", "config"},
    {"rnn", "reporting", "core"},
    {"detectors", "bases", "training", "parallel", "doctor"},
    {"plugins", "cli", "testing", ""},
    {"__main__"},
]
LINE = {part: line for line, parts in enumerate(ORDER) for part in parts}

# Exceptions from the rules, with the reason.
ALLOWED = {
    ("plugins.alarms.early_stopping", "plugins.alarms.plateau_alarm"): "early stopping is a plateau alarm with other "
    "defaults",
}
HOOKS_AND_RUN = {"core.batch", "core.hookspecs", "core.plugin_manager", "core.run"}
"""The only import cycle, for types: hooks name Run, and Run calls hooks."""


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
        self.packages: set[str] = set()
        self._nodes: dict[str, list[ast.AST]] = {}
        for path in sorted((root / "src" / PACKAGE).rglob("*.py")):
            parts = list(path.relative_to(root / "src" / PACKAGE).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
                self.packages.add(".".join(parts))
            self.modules[".".join(parts)] = ast.parse(path.read_text("utf-8"), filename=str(path))
        self.imports = [found for name, tree in self.modules.items() for found in self._imports(name, tree, False)]

    def nodes(self, module: str) -> list[ast.AST]:
        """All nodes of a module, which several rules walk through."""
        if module not in self._nodes:
            self._nodes[module] = list(ast.walk(self.modules[module]))
        return self._nodes[module]

    def _imports(self, importer: str, node: ast.AST, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                base = self._absolute(importer, child)
                names = [f"{base}.{alias.name}" for alias in child.names]
            elif isinstance(child, ast.expr):  # which holds no import
                continue
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
        kept = len(above) - node.level + (importer in self.packages)
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


def every_folder_has_its_line(source: Source) -> list[str]:
    return [module for module in source.modules if part(module) not in LINE]


def imports_follow_the_order(source: Source) -> list[str]:
    """Imports for types and imports inside functions count too: those hide an arrow and do not remove it."""
    return [
        str(found)
        for found in source.imports
        if part(found.importer) != part(found.imported)
        and LINE.get(part(found.imported), -1) >= LINE.get(part(found.importer), len(ORDER))
        and not allowed(found)
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
        for module in source.modules
        for node in source.nodes(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(rf"{PACKAGE}\.plugins(\.\w+)+(:\w+)?", node.value)
    ]
    return found_imports + by_name


def plugins_are_blind_to_each_other(source: Source) -> list[str]:
    return [
        str(found)
        for found in source.imports
        if found.importer.startswith("plugins.") and found.imported.startswith("plugins.") and not allowed(found)
    ]


def plugins_know_nothing_that_drives_them(source: Source) -> list[str]:
    drivers = {"core.plugin_manager", "config", "training", ""}
    return [
        str(found)
        for found in source.imports
        if part(found.importer) == "plugins" and ({found.imported, part(found.imported)} & drivers)
    ]


def networks_know_nothing_of_runs(source: Source) -> list[str]:
    may_know = {"rnn", "errors", "arrays", "options", "files"}
    return [
        str(found) for found in source.imports if part(found.importer) == "rnn" and part(found.imported) not in may_know
    ]


def runs_know_no_network(source: Source) -> list[str]:
    return [str(found) for found in source.imports if part(found.importer) == "core" and part(found.imported) == "rnn"]


def hookspecs_name_types_only(source: Source) -> list[str]:
    return [str(found) for found in source.imports if found.importer == "core.hookspecs" and not found.for_types]


def the_trainer_uses_run(source: Source) -> list[str]:
    if any(
        found.importer == "training.trainer" and found.imported == "core.run" and not found.for_types
        for found in source.imports
    ):
        return []
    return ["training.trainer does not import core.run"]


def imports_have_no_cycle(source: Source) -> list[str]:
    """Imports for types count, except among the hooks and Run."""
    edges: dict[str, set[str]] = {module: set() for module in source.modules}
    for found in source.imports:
        of_hooks = found.for_types and {found.importer, found.imported} <= HOOKS_AND_RUN
        of_faces = found.for_types and found.importer in source.packages
        if found.imported != found.importer and not of_hooks and not of_faces:
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
        for module in source.modules
        if part(module) != "cli"
        for node in source.nodes(module)
        if isinstance(node, ast.Call) and "print" in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))
        if ast.unparse(node.func) in ("print", "builtins.print")
    ]


def no_module_is_a_drawer(source: Source) -> list[str]:
    drawers = {"common", "helpers", "misc", "util", "utilities", "utils"}
    return [module for module in source.modules if module.split(".")[-1].strip("_") in drawers]


def no_two_files_share_a_name(source: Source) -> list[str]:
    """A folder may have the name of a file elsewhere. ``__init__`` does not count as a name."""
    names = Counter(module.split(".")[-1] for module in source.modules if module not in source.packages)
    return [name for name, count in names.items() if count > 1]


def no_two_public_names_are_one(source: Source) -> list[str]:
    """Compares classes and functions on the top level of a module, without a leading underscore.

    The overloads of a function count as one.
    """
    kinds = (ast.ClassDef, ast.FunctionDef)
    names: dict[str, list[str]] = {}
    for module, tree in source.modules.items():
        for node in tree.body:
            if isinstance(node, kinds) and not node.name.startswith("_"):
                if any(isinstance(one, ast.Name) and one.id == "overload" for one in node.decorator_list):
                    continue
                names.setdefault(node.name, []).append(module)
    return [f"{name}: {', '.join(modules)}" for name, modules in names.items() if len(modules) > 1]


def state_is_declared_in_one_way(source: Source) -> list[str]:
    return [
        f"{module}:{node.value.lineno} declares a field with init=False: use state_field"
        for module in source.modules
        if module != "core.plugin_state" and part(module) != "rnn"
        for node in source.nodes(module)
        if isinstance(node, ast.keyword)
        and node.arg == "init"
        and isinstance(node.value, ast.Constant)
        and node.value.value is False
    ]


def no_module_is_too_long(source: Source) -> list[str]:
    """A module can be read in a sitting."""
    longest = {"core.run": 440}
    lengths = {
        module: max((getattr(node, "end_lineno", 0) for node in tree.body), default=0)
        for module, tree in source.modules.items()
    }
    return [f"{module}: {length} lines" for module, length in lengths.items() if length > longest.get(module, 330)]


def detectors_have_one_verb(source: Source) -> list[str]:
    """A method that returns a CheckResult is named check, or says when it is called: end_batch."""
    return [
        f"{module}: {node.name}"
        for module in source.modules
        if part(module) == "detectors"
        for node in source.nodes(module)
        if isinstance(node, ast.FunctionDef) and node.returns is not None
        if "CheckResult" in ast.unparse(node.returns)
        if node.name.split("_")[0] in ("look", "judge", "inspect", "examine")
    ]


def no_plugin_manager_is_global(source: Source) -> list[str]:
    managers = {"PluginManager"} | {
        node.name
        for node in ast.walk(source.modules.get("core.plugin_manager", ast.Module([], [])))
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
        for module in source.modules
        for node in source.nodes(module)
        if isinstance(node, ast.ClassDef) and re.fullmatch(r"(Base|Abstract)?(Callback|Plugin|Event|Hook)", node.name)
    ]


def plugins_have_one_spelling(source: Source) -> list[str]:
    """Entry point, module and class of a plugin are one name, and each plugin has all three."""
    project = tomllib.loads((source.root / "pyproject.toml").read_text("utf-8"))["project"]
    entry_points: dict[str, str] = project["entry-points"][f"{PACKAGE}.plugins"]
    problems = []
    declared = set()
    for name, value in entry_points.items():
        class_name = "".join(word.capitalize() for word in name.split("_"))
        match = re.fullmatch(rf"{PACKAGE}\.(plugins\.\w+\.{name}):{class_name}", value)
        if match is None:
            problems.append(f"{name} = {value}")
        elif match[1] not in source.modules:
            problems.append(f"{name} has no module")
        elif class_name not in {node.name for node in source.modules[match[1]].body if isinstance(node, ast.ClassDef)}:
            problems.append(f"{match[1]} has no class {class_name}")
        else:
            declared.add(match[1])
    modules = {module for module in source.modules if module.startswith("plugins.") and module not in source.packages}
    return problems + [f"{module} has no entry point" for module in sorted(modules - declared)]


# --- each rule on the package, and on a tree that breaks it ------------------------------------------------------

ENTRY_POINTS = '[project.entry-points."rnncallbacks.plugins"]\n'
WARMUP = ENTRY_POINTS + 'warmup = "rnncallbacks.plugins.schedules.warmup:Warmup"\n'
WARMUP_MODULE = "plugins/schedules/warmup"

# Rule to trees that break it, each as module to code.
BROKEN: dict[Callable[[Source], list[str]], list[dict[str, str]]] = {
    every_folder_has_its_line: [{"telemetry": ""}, {"telemetry/__init__": "", "telemetry/sender": ""}],
    imports_follow_the_order: [
        {"options": "from rnncallbacks.core.run import Run", "core/run": ""},
        {"core/run": "from rnncallbacks.training import trainer", "training/trainer": ""},
        {"core/run": "from rnncallbacks.detectors import closure", "detectors/closure": ""},
        {"bases/guard": "def f():\n    import rnncallbacks.plugins", "plugins/__init__": ""},
        {"files": "import typing\nif typing.TYPE_CHECKING:\n    from rnncallbacks import options", "options": ""},
        {"alarms/finding": "from rnncallbacks.bases import guard", "bases/guard": ""},
        {"alarms/alarm": "from ..core.run import Run", "core/run": ""},
        {"training/trainer": "from rnncallbacks.cli import main", "cli/__init__": ""},
        {"core/run": "import rnncallbacks.testing", "testing/__init__": ""},
    ],
    nobody_imports_a_plugin: [
        {"cli/train": "from rnncallbacks.plugins.schedules import warmup", WARMUP_MODULE: ""},
        {"__init__": "from .plugins.schedules.warmup import Warmup", WARMUP_MODULE: ""},
        {"plugins/__init__": "from .schedules.warmup import Warmup", WARMUP_MODULE: ""},
        {"config/configuration": "names = ['rnncallbacks.plugins.schedules.warmup']"},
    ],
    plugins_are_blind_to_each_other: [
        {WARMUP_MODULE: "from rnncallbacks.plugins.output.progress import Progress", "plugins/output/progress": ""},
        {"plugins/schedules/__init__": "", WARMUP_MODULE: "from . import cosine", "plugins/schedules/cosine": ""},
    ],
    plugins_know_nothing_that_drives_them: [
        {WARMUP_MODULE: "from rnncallbacks.core.plugin_manager import Plugins", "core/plugin_manager": ""},
        {WARMUP_MODULE: "from rnncallbacks.config.discovery import find_plugins", "config/discovery": ""},
        {"__init__": "from rnncallbacks.core.run import Run", "core/run": "", WARMUP_MODULE: "import rnncallbacks"},
    ],
    networks_know_nothing_of_runs: [
        {"rnn/model": "from rnncallbacks.alarms.alarm import Alarm", "alarms/alarm": ""},
        {"rnn/model": "from ..core import run", "core/run": ""},
    ],
    runs_know_no_network: [{"core/run": "from rnncallbacks.rnn import model", "rnn/model": ""}],
    hookspecs_name_types_only: [{"core/hookspecs": "from rnncallbacks.core.run import Run", "core/run": ""}],
    the_trainer_uses_run: [{"training/trainer": "import rnncallbacks.core.plugin_manager", "core/plugin_manager": ""}],
    imports_have_no_cycle: [
        {"core/run": "import rnncallbacks.core.batch", "core/batch": "def f():\n    from rnncallbacks.core import run"},
        {
            "rnn/model": "import rnncallbacks.rnn.head",
            "rnn/head": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rnncallbacks.rnn.model",
        },
    ],
    only_the_command_line_prints: [{"core/run": "def f():\n    print('loss')"}],
    no_module_is_a_drawer: [{"utils": ""}, {"rnn/_helpers": ""}],
    no_two_files_share_a_name: [{"core/checkpoint": "", "plugins/output/checkpoint": ""}],
    no_two_public_names_are_one: [
        {"core/run": "class Finding: ...", "alarms/finding": "class Finding: ..."},
        {"core/run": "def explain(): ...", "alarms/finding": "def explain(): ..."},
    ],
    state_is_declared_in_one_way: [{"bases/guard": "import attrs\nx = attrs.field(default=0, init=False)"}],
    no_module_is_too_long: [{"core/batch": "x = 1\n" * 331}, {"core/run": "x = 1\n" * 441}],
    detectors_have_one_verb: [{"detectors/stream": "class Stream:\n    def look(self) -> CheckResult: ..."}],
    no_plugin_manager_is_global: [
        {"core/run": "import pluggy\nmanager = pluggy.PluginManager('rnncallbacks')"},
        {"core/plugin_manager": "class Plugins: ...", "core/run": "class Run:\n    plugins = Plugins()"},
    ],
    no_class_stands_beside_the_hook_specs: [
        {"core/run": "class Callback: ..."},
        {"core/hookspecs": "class Event: ..."},
    ],
    plugins_have_one_spelling: [
        {"pyproject.toml": WARMUP},
        {"pyproject.toml": WARMUP, WARMUP_MODULE: "class WarmUp: ..."},
        {"pyproject.toml": ENTRY_POINTS, WARMUP_MODULE: "class Warmup: ..."},
        {"pyproject.toml": WARMUP.replace("warmup =", "warm_up ="), WARMUP_MODULE: "class Warmup: ..."},
        {"pyproject.toml": ENTRY_POINTS + 'a = "rnncallbacks.plugins.b.c:A"', "plugins/b/c": "class A: ..."},
        {"pyproject.toml": ENTRY_POINTS + 'a = "rnncallbacks.plugins.a:A"', "plugins/a": "class A: ..."},
    ],
}

# As near to a violation as the rules permit.
HARMLESS = {
    "__init__": "from rnncallbacks.core.run import Run",
    "__main__": "from rnncallbacks.cli import main",
    "arrays/containers": "from rnncallbacks.errors import ShapeError\ndef _join(): ...",
    "alarms/alarm": "from rnncallbacks.errors import OptionError",
    "bases/guard": "from rnncallbacks.alarms.finding import Finding\nx = field(init=True)",
    "cli/__init__": "from rnncallbacks.reporting import html\nprint('trained')",
    "config/configuration": "GROUP = 'rnncallbacks.plugins'",
    "core/batch": "def _join(): ...\n" + "x = 1\n" * 329,
    "core/hookspecs": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rnncallbacks.core.run import Run",
    "core/plugin_manager": "import pluggy\nfrom rnncallbacks.core import hookspecs\n"
    "class Plugins:\n    def __init__(self):\n        self.pm = pluggy.PluginManager('a')",
    "core/run": "from rnncallbacks.core.plugin_manager import Plugins\nclass BatchEvent: ...",
    "alarms/finding": "from rnncallbacks.alarms import alarm\nclass Finding: ...",
    "detectors/stream": "class Stream:\n    def check(self) -> CheckResult: ...\n    def look(self) -> Batch: ...",
    "errors": "",
    "arrays/gradients": "from rnncallbacks.arrays.containers import named_arrays",
    "plugins/__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .schedules.warmup import Warmup",
    "plugins/schedules/__init__": "",
    WARMUP_MODULE: "from rnncallbacks.core.run import Run\nfrom ...bases import guard\nclass Warmup: ...",
    "reporting/__init__": "",
    "reporting/html": "",
    "rnn/cells": "from .. import errors",
    "rnn/model": "from rnncallbacks.rnn.cells import Cell",
    "training/trainer": "from rnncallbacks.core.run import Run",
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
