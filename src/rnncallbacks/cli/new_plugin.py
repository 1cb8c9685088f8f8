"""``rnncallbacks new-plugin``: the package of a new plugin, with tests that pass."""

from __future__ import annotations

import keyword
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template

import attrs
import click

from rnncallbacks.alarms.registered_codes import LIBRARY_CODES
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.errors import OptionError

TEMPLATES = Path(__file__).parent / "plugin_template"
PREFIX = "rnncallbacks"
NAME_LENGTH = 40
"""Characters of the longest name: a line with the name of the class has to fit. Chosen by eye."""
RESERVED_BY_WINDOWS = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))]
)
"""Names that no file has in Windows, whatever its extension."""
CODES_TABLE = """
# An alarm code and its entry. Its page is in the folder pages, next to the entry's module.
[project.entry-points."rnncallbacks.codes"]
{code} = "{package}.codes:{code}"
"""


@attrs.frozen
class PluginKind:
    """What is special about the package of one kind of plugin.

    Attributes
    ----------
    summary:
        What the plugin does, in words without a full stop.
    options:
        The lines of its table in a configuration.
    """

    summary: str
    options: str


KINDS: Mapping[str, PluginKind] = {
    "plain": PluginKind(
        "The mean norm of the gradients of each epoch", "every = 10          # sample every tenth batch"
    ),
    "guard": PluginKind(
        "An alarm if the loss does not change", 'patience = 5        # equal losses in succession\naction = "stop"'
    ),
    "logger": PluginKind("A line of JSON for each batch, epoch and alarm", 'path = "run.jsonl"'),
    "schedule": PluginKind("A learning rate that halves again and again", "half_life = 1000    # training batches"),
}


@click.command("new-plugin", short_help="Write the package of a new plugin.")
@click.argument("name")
@click.option("--guard", is_flag=True, help="A guard: it raises alarms of a code of its own.")
@click.option("--logger", is_flag=True, help="A logger: it writes a file.")
@click.option("--schedule", is_flag=True, help="A learning-rate schedule.")
def new_plugin(name: str, **wanted: bool) -> None:
    """Write a package with one plugin, tests, a README and a CI file into the folder rnncallbacks-NAME.

    NAME is the name that configurations will use, in snake_case. Without an option, the plugin adds a column to the
    history.
    """
    kinds = [kind for kind, given in wanted.items() if given] or ["plain"]
    if len(kinds) > 1:
        options = " and ".join(f"--{kind}" for kind in kinds)
        raise OptionError(f"new-plugin: expected one kind of plugin, got {options}", hint="write a package for each")
    folder = Path(f"{PREFIX}-{_dashed(name)}")
    write_package(name, kinds[0], folder)
    click.echo(f"wrote {folder}. To install and test it:\n")
    click.echo(f"  cd {folder}")
    click.echo("  python3 -m venv .venv && .venv/bin/pip install -e '.[test]'")
    click.echo("  .venv/bin/pytest\n")
    click.echo(f"The plugin is {folder}/src/{_package(name)}/{name}.py.")


def write_package(name: str, kind: str, folder: Path) -> None:
    """Write the package of a new plugin: all of it, or nothing.

    Raises
    ------
    OptionError
        The name cannot be that of a plugin, or is taken; or the folder exists.
    OSError
        The package cannot be written, such as on a full disk; the error names the folder.
    """
    check_new_name(name)
    if kind == "guard" and _code(name).startswith(LIBRARY_CODES):
        raise OptionError(
            f"new-plugin: the code of this guard would be {_code(name)!r}, and codes that begin with {LIBRARY_CODES} "
            "are those of the library",
            hint="begin the name with a prefix of yours",
        )
    if folder.exists() or folder.is_symlink():
        raise OptionError(f"new-plugin: {folder} exists already", hint="choose another name, or move the folder away")
    files = package_files(name, kind)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
            for path, text in files.items():
                target = Path(made, folder.name, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            Path(made, folder.name).rename(folder)
    except OSError as error:  # on a full disk it names no file, and otherwise one of the temporary folder
        error.filename = str(folder)
        raise


def package_files(name: str, kind: str) -> dict[str, str]:
    """The text of each file of the package, by its path."""
    package, code = _package(name), _code(name)
    words = {
        "name": name,
        "dashed": _dashed(name),
        "package": package,
        "class_name": _class_name(name),
        "code": code,
        "codes": CODES_TABLE.format(code=code, package=package) if kind == "guard" else "",
        "summary": KINDS[kind].summary,
        "options": KINDS[kind].options,
        "version": ".".join(version(PREFIX).split(".")[:2]),
    }
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".github/workflows/tests.yml": "tests.yml",
        f"src/{package}/__init__.py": "__init__.py",
        f"src/{package}/{name}.py": f"{kind}/plugin.py",
        f"tests/test_{name}.py": f"{kind}/test_plugin.py",
    }
    if kind == "guard":
        templates[f"src/{package}/codes.py"] = "guard/codes.py"
        templates[f"src/{package}/pages/{code}.md"] = "guard/page.md"
    files = {path: (TEMPLATES / f"{one}.template").read_text("utf-8") for path, one in templates.items()}
    return {path: Template(text).substitute(words) for path, text in files.items()} | {f"src/{package}/py.typed": ""}


def check_new_name(name: str) -> None:
    """Refuse a name that cannot be that of a new plugin.

    Raises
    ------
    OptionError
        The message says why, the hint what to write.
    """
    snake = re.sub("_+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^0-9A-Za-z]+", "_", name)).strip("_").lower()
    snake = snake.removeprefix(f"{PREFIX}_")
    hint = f"for example {snake}" if snake[:1].isalpha() and snake != name else "for example acme_update_ratio"
    if not re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise OptionError(f"new-plugin: expected a name in snake_case, got {name!r}", hint=hint)
    if name == PREFIX or name.startswith(f"{PREFIX}_"):
        raise OptionError(f"new-plugin: the package gets the prefix {PREFIX}- by itself, got {name!r}", hint=hint)
    if len(name) > NAME_LENGTH:
        raise OptionError(f"new-plugin: expected a name of at most {NAME_LENGTH} characters, got {len(name)}")
    if name in RESERVED_BY_WINDOWS:
        raise OptionError(f"new-plugin: Windows allows no file {name}.py", hint=f"for example {name}_plugin")
    if _class_name(name).startswith("Test"):
        raise OptionError(
            f"new-plugin: pytest would take the class {_class_name(name)} for tests, got {name!r}",
            hint=f"for example acme_{name}",
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or keyword.iskeyword(_class_name(name)):
        raise OptionError(f"new-plugin: {name!r} is a word of Python", hint=f"for example {name}_plugin")
    taken = next((found for found in find_plugins() if found.name == name), None)
    if taken is not None:
        raise OptionError(
            f"new-plugin: {taken.distribution} has a plugin {name!r} already",
            hint="begin the name with a prefix of yours",
        )


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _code(name: str) -> str:
    return f"{name.replace('_', '').upper()}001"


def _package(name: str) -> str:
    return f"{PREFIX}_{name}"
