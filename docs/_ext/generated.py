"""What the documentation takes from the code: options of plugins, those of commands, and the pages of alarm codes.

A Sphinx extension. The "Options" section in the docstring of a plugin's class, or of a class that it derives from, says
what each option means; its type and default are those of the class. A command's options are those that click knows. The
page of a code is the one that ``rnncallbacks explain`` prints.

Sphinx itself is imported by ``setup`` alone, so that tests can ask for the same tables without it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rnncallbacks.alarms.catalogue import CATALOGUE, page
from rnncallbacks.config.plugin_options import options_of

Factory = Callable[..., object]
SECTION = "Options"


def described_options(factory: Factory) -> dict[str, str]:
    """What the docstrings of a class and of those that it derives from say of each option."""
    found: dict[str, str] = {}
    for one in reversed(inspect.getmro(factory) if inspect.isclass(factory) else [factory]):
        section, _ = split_section((inspect.getdoc(one) or "").splitlines())
        found |= entries(section)
    return found


def split_section(lines: list[str]) -> tuple[list[str], list[str]]:
    """The lines below the heading "Options" that are its entries, and all the others without the heading."""
    try:
        begin = next(n for n, line in enumerate(lines[:-1]) if line == SECTION and set(lines[n + 1]) == {"-"})
    except StopIteration:
        return [], lines
    end = begin + 2
    while end < len(lines) and (not lines[end] or lines[end].startswith(" ") or _name(lines[end])):
        end += 1
    return lines[begin + 2 : end], [*lines[:begin], *lines[end:]]


def entries(section: list[str]) -> dict[str, str]:
    """The name of each entry, and its text on one line."""
    found: dict[str, str] = {}
    name = ""
    for line in section:
        if named := _name(line):
            name = named
            found[name] = ""
        elif line.strip():
            found[name] = f"{found[name]} {line.strip()}".lstrip()
    return found


def _name(line: str) -> str:
    match = re.fullmatch(r"(\w+):", line)
    return match[1] if match else ""


def undescribed_options(factory: Factory) -> list[str]:
    """The options that no docstring describes, and the described ones that do not exist."""
    described = described_options(factory)
    options = options_of(factory)
    return [name for name in options if not described.get(name)] + [name for name in described if name not in options]


def options_table(factory: Factory) -> list[str]:
    """The options of a plugin as lines of reStructuredText."""
    described = described_options(factory)
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 18 24 16 42", ""]
    rows = [("option", "type", "default", "meaning")]
    for option in options_of(factory).values():
        default = "required" if option.required else f"``{_toml(option.default)}``"
        rows.append((f"``{option.name}``", f"``{option.type}``", default, described[option.name]))
    for row in rows:
        lines += [f"   {'  ' if number else '* '}- {cell}" for number, cell in enumerate(row)]
    return [*lines, ""]


def _toml(value: Any) -> str:
    """A default as one would write it in a configuration."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, int | float):
        return repr(value)
    return f'"{value}"'


def plugin_classes(distribution: str = "rnncallbacks") -> dict[str, str]:
    """The dotted name of each plugin's class by the plugin's name, for the plugins that one distribution brings."""
    return {
        one.name: one.value.replace(":", ".")
        for one in sorted(entry_points(group="rnncallbacks.plugins"), key=lambda one: one.name)
        if one.dist is not None and one.dist.name == distribution
    }


def commands() -> dict[str, Any]:
    """The commands of the command line by name, as click knows them."""
    from rnncallbacks.cli.commands import rnncallbacks

    return dict(sorted(rnncallbacks.commands.items()))


def parameters(command: Any) -> Iterator[tuple[str, str, str]]:
    """Each option of a command, as what is typed, its default, and what it does."""
    import click

    context = click.Context(command)
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            typed = ", ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))
            if not parameter.is_flag:
                typed += f" {parameter.make_metavar(context)}"
            text, _, default = (parameter.help or "").rstrip("]").partition(" [default: ")
            default = default or parameter.get_help_extra(context).get("default", "")
            yield typed, default and f"`{default}`", text


def command_lines(command: Any) -> list[str]:
    """A command as lines of Markdown: how it is called, and its options."""
    import click

    context = click.Context(command, info_name=f"rnncallbacks {command.name}")
    pieces = " ".join(command.collect_usage_pieces(context))
    rows = [("option", "default", "meaning"), ("---", "---", "---"), *parameters(command)]
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return ["```console", f"$ {context.command_path} {pieces}", "```", "", *table, ""]


def code_page(code: str) -> str:
    """The page of a code, with links to the pages of other codes and to the plugins that it names."""
    plugins = "|".join(plugin_classes())
    text = re.sub(rf"(?<!\[)`(?!{code})(RNN\d{{3}})`", r"[`\1`](\1.md)", page(code))
    return re.sub(rf"(?<!\[)`({plugins})`", r"[`\1`](../plugins.md#\1)", text)


def write_code_pages(directory: Path) -> None:
    """Write the page of each code into a directory of the documentation, and take away those of codes that are gone."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("RNN*.md"):
        if path.stem not in CATALOGUE:
            path.unlink()
    for code in CATALOGUE:
        path, text = directory / f"{code}.md", code_page(code)
        if not path.exists() or path.read_text("utf-8") != text:  # a page as it was is not built again
            path.write_text(text, "utf-8")


def codes_table() -> list[str]:
    """All codes as lines of Markdown: each with a link, its severity, its cause, and the plugins that raise it."""
    from rnncallbacks.cli.explain import raised_by

    plugins = raised_by()
    lines = ["| code | severity | cause | raised by |", "| --- | --- | --- | --- |"]
    for code, entry in sorted(CATALOGUE.items()):
        by = ", ".join(f"`{name}`" for name in plugins.get(code, ()))
        lines.append(f"| [{code}](alarms/{code}.md) | {entry.severity} | {entry.cause} | {by} |")
    return lines


def _document_options(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put the table where the docstring has its section "Options"; a plugin without one has it at the end."""
    section, rest = split_section(list(lines))
    if what != "class" or not (section or name in plugin_classes().values()):
        return
    if missing := undescribed_options(obj):
        raise ValueError(f"{name}: options without a description, or the reverse: {', '.join(missing)}")
    begin = lines.index(SECTION) if section else len(lines)
    lines[:] = [*rest[:begin], "", *options_table(obj), *rest[begin:]]


def _set_off_sources(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a section of a paragraph "Source: ...", which napoleon would take for a part of the section above it."""
    lines[:] = [
        part
        for line in lines
        for part in (("Source", "------", line.removeprefix("Source: ")) if line.startswith("Source: ") else (line,))
    ]


def _shorten_paths(app: Any, doctree: Any) -> None:
    """Name the files of a difference as a reader knows them, and not by where the pages were built."""
    from docutils import nodes

    for block in doctree.findall(nodes.literal_block):
        if block.get("language") == "udiff":
            text = block.astext().replace(f"{app.srcdir.parent}/", "")
            block[:] = [nodes.Text(text)]
            block.rawsource = text  # without it, the block counts as marked up, and loses its colors


def setup(app: Any) -> dict[str, bool]:
    from docutils import nodes
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    class Command(Directive):
        """``{command} train``: how the command is called, and its options."""

        required_arguments = 1

        def run(self) -> list[Any]:
            parent = nodes.container()
            lines = command_lines(commands()[self.arguments[0]])
            self.state.nested_parse(StringList(lines, source="command line"), self.content_offset, parent)
            return parent.children

    class Codes(Directive):
        """``{codes}``: the table of all alarm codes."""

        def run(self) -> list[Any]:
            parent = nodes.container()
            self.state.nested_parse(StringList(codes_table(), source="catalogue"), self.content_offset, parent)
            return parent.children

    app.add_directive("command", Command)
    app.add_directive("codes", Codes)
    app.connect("builder-inited", lambda app: write_code_pages(Path(app.srcdir, "reference", "alarms")))
    # Before napoleon, which does not know these sections.
    app.connect("autodoc-process-docstring", _document_options, priority=400)
    app.connect("autodoc-process-docstring", _set_off_sources, priority=400)
    app.connect("doctree-read", _shorten_paths)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
