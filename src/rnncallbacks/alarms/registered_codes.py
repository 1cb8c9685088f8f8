"""Alarm codes of other packages: the entry points of the group ``rnncallbacks.codes``.

The name of an entry point is the code, and its object the :class:`~rnncallbacks.alarms.catalogue.Entry`. The page is
``pages/CODE.md`` in the folder of the module that has the entry. Nothing is imported before a code is looked up.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.catalogue import CATALOGUE, Entry, page
from rnncallbacks.errors import OptionError, PluginError, closest, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

CODE_GROUP = "rnncallbacks.codes"
LIBRARY = "rnncallbacks"
LIBRARY_CODES = "RNN"
"""The beginning of the library's codes, in later versions too."""


@attrs.frozen(eq=False)
class RegisteredCode:
    """A code that a package registers.

    Attributes
    ----------
    code:
        The code.
    distribution:
        The package.
    entry_point:
        The entry point, which is not loaded yet.
    rivals:
        Other packages that register the code. The library is one of them if the code begins with its prefix.
    """

    code: str
    distribution: str
    entry_point: EntryPoint
    rivals: tuple[str, ...] = ()

    def load(self) -> Entry:
        """Import the entry.

        Raises
        ------
        PluginError
            Another package registers the code, the import fails, or the imported object is not an entry.
        """
        if self.rivals:
            raise PluginError(
                f"alarm code {self.code!r} is claimed by two distributions, "
                f"{' and '.join(sorted((self.distribution, *self.rivals)))}",
                hint="uninstall one of them, or ask its author for codes with another prefix",
            )
        whose = f"alarm code {self.code!r} of {self.distribution}"
        try:
            entry = self.entry_point.load()
        except Exception as error:
            raise PluginError(
                f"{whose} cannot be loaded from {self.entry_point.value!r}: {one_line(error)}",
                hint=f"correct the entry point in the group {CODE_GROUP} of {self.distribution}",
            ) from error
        if not isinstance(entry, Entry):
            raise PluginError(
                f"{whose}: expected {self.entry_point.value!r} to be an Entry, got {type(entry).__name__}",
                hint="write Entry(cause=..., severity=..., remedy=...), with Entry from rnncallbacks.bases",
            )
        return entry

    def page(self) -> str:
        """The page, as Markdown.

        Raises
        ------
        PluginError
            As for :meth:`load`, or the package has no such page.
        """
        self.load()
        path = Path(str(sys.modules[self.entry_point.module].__file__)).parent / "pages" / f"{self.code}.md"
        if not path.is_file():
            raise PluginError(
                f"alarm code {self.code!r} of {self.distribution} has no page",
                hint=f"write it into pages/{self.code}.md, in the folder of the module {self.entry_point.module}",
            )
        return path.read_text("utf-8")


def find_registered_codes() -> Mapping[str, RegisteredCode]:
    """The codes that installed packages register, by code."""
    return _registered(tuple(sys.path))


def find_entry(code: str) -> Entry | None:
    """The entry of a code of the library or of an installed package; None for an unknown code.

    Raises
    ------
    PluginError
        Two packages claim the code, or its entry cannot be loaded.

    Example
    -------
    >>> find_entry("RNN601").cause
    'plateau'
    >>> find_entry("ACME999") is None
    True
    """
    if code in CATALOGUE:
        return CATALOGUE[code]
    registered = find_registered_codes().get(code)
    return None if registered is None else registered.load()


def cause_of(code: str) -> str:
    """The cause in the entry of a code; empty for an unknown code, and if the entry cannot be loaded.

    Example
    -------
    >>> cause_of("RNN601"), cause_of("ACME999")
    ('plateau', '')
    """
    try:
        entry = find_entry(code)
    except PluginError:
        entry = None
    return "" if entry is None else entry.cause


def find_page(code: str) -> str:
    """The page of a code of the library or of an installed package, as Markdown.

    Raises
    ------
    OptionError
        No package has such a code.
    PluginError
        Two packages claim the code, or it has no page.
    """
    code = code.upper()
    registered = find_registered_codes()
    if code in CATALOGUE and code not in registered:
        return page(code)
    if code not in registered:
        known = {*CATALOGUE, *registered}
        raise OptionError(
            f"the catalogue has no code {code!r}",
            hint=closest(code, known) or "run 'rnncallbacks explain' for all of them",
        )
    return registered[code].page()


@functools.lru_cache(maxsize=4)
def _registered(path: tuple[str, ...]) -> Mapping[str, RegisteredCode]:
    """The codes that the packages on this path register; the path is the key of the cache."""
    from importlib import metadata  # slow to import, and few runs have codes of other packages

    claims: dict[str, dict[str, EntryPoint]] = {}
    for entry_point in metadata.entry_points(group=CODE_GROUP):
        name = "an unnamed package" if entry_point.dist is None else entry_point.dist.name
        claims.setdefault(entry_point.name, {})[name] = entry_point
    found = {}
    for code, claimants in claims.items():
        (distribution, entry_point), *others = claimants.items()
        rivals = [name for name, _ in others] + [LIBRARY] * code.startswith(LIBRARY_CODES)
        found[code] = RegisteredCode(code, distribution, entry_point, tuple(rivals))
    return found
