"""Remains of Python 2 in a script, and their replacements in Python 3."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator

import attrs

PYTHON2_BUILTINS = {
    "basestring": "str",
    "cmp": "(a > b) - (a < b)",
    "execfile": "exec(open(path).read())",
    "file": "open",
    "izip": "zip",
    "imap": "map",
    "long": "int",
    "raw_input": "input",
    "reduce": "reduce, after: from functools import reduce",
    "reload": "reload, after: from importlib import reload",
    "unichr": "chr",
    "unicode": "str",
    "xrange": "range",
}
"""Builtins of Python 2, and their replacements."""
PYTHON2_ATTRIBUTES = {
    "clock": "time.perf_counter()",
    "has_key": "key in d",
    "iteritems": "d.items()",
    "iterkeys": "d.keys()",
    "itervalues": "d.values()",
    "izip": "zip",
    "imap": "map",
    "letters": "string.ascii_letters",
    "lowercase": "string.ascii_lowercase",
    "uppercase": "string.ascii_uppercase",
    "maketrans": "str.maketrans",
    "maxint": "sys.maxsize",
    "next": "next(iterator)",
    "viewitems": "d.items()",
    "viewkeys": "d.keys()",
}
"""Methods and attributes of Python 2, and their replacements."""
PYTHON2_MODULES = {
    "ConfigParser": "configparser",
    "HTMLParser": "html.parser",
    "Queue": "queue",
    "StringIO": "io",
    "Tkinter": "tkinter",
    "__builtin__": "builtins",
    "cPickle": "pickle",
    "cStringIO": "io",
    "commands": "subprocess",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
}
"""Modules of Python 2, and their current names."""

_PRINT = re.compile(r"^(?P<before>.*?)\bprint\b(?!\s*([(=.,):;}\]\[]|$))\s*(?P<what>[^;]+?)\s*(?P<comma>,?)\s*(;.*)?$")
_EXCEPT = re.compile(r"\bexcept\s+(?P<kinds>\([^)]*\)|[\w.]+)\s*,\s*(?P<name>\w+)\s*:")
_RAISE = re.compile(r"\braise\s+(?P<kind>[\w.]+)\s*,\s*(?P<message>.+)$")
_EXEC = re.compile(r"\bexec\s+(?P<code>[\w'\"].*)$")
_LONG = re.compile(r"\b(?P<number>\d+)[lL]\b")
_OCTAL = re.compile(r"(?<![\w.])0+(?P<digits>[1-7][0-7]*)\b(?!\.)")
_IMPORT = re.compile(r"^\s*(import|from)\s+(?P<module>\w+)")


@attrs.frozen
class Leftover:
    """A place in a script that is valid only in Python 2.

    Attributes
    ----------
    line:
        The line, from 1.
    found:
        A description of the place.
    fix:
        The replacement.
    """

    line: int
    found: str
    fix: str


def syntax_leftovers(text: str) -> list[Leftover]:
    """The lines of a script whose syntax is that of Python 2.

    >>> syntax_leftovers("print 'loss', loss\\n")
    [Leftover(line=1, found='print is a statement of Python 2', fix="print('loss', loss)")]
    """
    found = []
    for number, (line, code) in enumerate(zip(text.splitlines(), _without_strings(text), strict=True), 1):
        found += [Leftover(number, what, fix) for what, fix in _syntax_of(line, code)]
    return found


def _syntax_of(line: str, code: str) -> Iterator[tuple[str, str]]:
    """The faults of a line and their fixes; ``code`` is the line with blanks in place of strings and comments."""
    bare = line[: len(code.rstrip())] if "#" in line[len(code.rstrip()) :] else line
    if match := _PRINT.match(code):
        what = bare[match.start("what") : match.end("what")].strip()
        if what.startswith(">>"):
            stream, _, rest = what[2:].partition(",")
            replacement = f"print({rest.strip()}, file={stream.strip()})"
        else:
            end = ', end=" "' if match["comma"] else ""
            replacement = f"print({what}{end})"
        yield "print is a statement of Python 2", replacement
    if match := _EXCEPT.search(code):
        yield "except with a comma", f"except {match['kinds']} as {match['name']}:"
    if match := _RAISE.search(code):
        message = bare[match.start("message") : match.end("message")].strip()
        yield "raise with a comma", f"raise {match['kind']}({message})"
    if match := _EXEC.search(code):
        yield "exec is a statement of Python 2", f"exec({bare[match.start('code') : match.end('code')].strip()})"
    if "<>" in code:
        yield "<> of Python 2", "!="
    if "`" in code:
        yield "backquotes of Python 2", "repr(...)"
    if match := _LONG.search(code):
        yield f"the long integer {match[0]}", match["number"]
    if match := _OCTAL.search(code):
        yield f"the octal number {match[0]}", f"0o{match['digits']}"
    indentation = line[: len(line) - len(line.lstrip())]
    if " \t" in indentation:
        yield "an indentation of spaces and tabs", "spaces alone"


def all_leftovers(text: str) -> list[Leftover]:
    """The syntax, the builtins, the methods and the modules of Python 2 in a script, by line."""
    found = syntax_leftovers(text)
    for number, code in enumerate(_without_strings(text), 1):
        if (match := _IMPORT.match(code)) and match["module"] in PYTHON2_MODULES:
            found.append(
                Leftover(number, f"the module {match['module']}", f"import {PYTHON2_MODULES[match['module']]}")
            )
        for name in ("xrange", "raw_input", "unichr", "unicode", "execfile", "basestring"):
            if re.search(rf"(?<![\w.]){name}\s*\(", code):
                found.append(Leftover(number, f"{name}()", PYTHON2_BUILTINS[name]))
        for name in ("has_key", "iteritems", "iterkeys", "itervalues"):
            if re.search(rf"\.{name}\s*\(", code):
                found.append(Leftover(number, f".{name}()", PYTHON2_ATTRIBUTES[name]))
    return sorted(found, key=lambda one: one.line)


def _without_strings(text: str) -> list[str]:
    """The lines with comments left out, and with quotes in place of what is between them."""
    lines = text.splitlines()
    result = [list(line) for line in lines]
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                result[row - 1][column:] = []
            elif token.type == tokenize.STRING:
                _blank(result, token.start, token.end)
    except (tokenize.TokenError, SyntaxError):
        pass  # the lines read so far have to do
    return ["".join(line).rstrip() for line in result]


def _blank(lines: list[list[str]], start: tuple[int, int], end: tuple[int, int]) -> None:
    for row in range(start[0], end[0] + 1):
        line = lines[row - 1]
        first = start[1] if row == start[0] else 0
        last = end[1] if row == end[0] else len(line)
        line[first:last] = "'" * (last - first)
