"""The installed plugins: the entry points of the group ``rnncallbacks.plugins``.

A plugin is imported when it is loaded, not before. A broken plugin does not affect the others.
"""

from __future__ import annotations

import functools
import logging
import re
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks.errors import PluginError, closest

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

logger = logging.getLogger("rnncallbacks")

GROUP = "rnncallbacks.plugins"
OURS = "rnncallbacks"

Factory = Callable[..., object]


@attrs.frozen(eq=False)
class Found:
    """An installed plugin that is not imported yet.

    Attributes
    ----------
    name:
        The name of the entry point.
    distribution, version:
        The package that provides it.
    entry_point:
        The entry point.
    rivals:
        Other packages that provide a plugin of this name.
    """

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint
    rivals: tuple[str, ...] = ()

    def load(self) -> Factory:
        """Import the plugin and return its class, or the function that makes it.

        Raises
        ------
        PluginError
            Another distribution uses the same name, the import fails, or the imported object cannot be called.
        """
        if self.rivals:
            claimants = " and ".join(sorted((self.distribution, *self.rivals)))
            raise PluginError(
                f"plugin {self.name!r} is claimed by two distributions, {claimants}",
                hint="uninstall one of them, or ask its author for another entry-point name",
            )
        whose = f"plugin {self.name!r} of {self.distribution} {self.version}"
        try:
            factory = self.entry_point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a package may raise SystemExit, for example
            raise PluginError(
                f"{whose} cannot be loaded from {self.entry_point.value!r}: {type(error).__name__}: {error}",
                hint=f"update or uninstall {self.distribution}, or disable the plugin",
            ) from error
        if not callable(factory):
            raise PluginError(
                f"{whose}: expected {self.entry_point.value!r} to be a class or a function that makes the plugin, "
                f"got {type(factory).__name__}"
            )
        return factory  # type: ignore[no-any-return]


def find_plugins() -> list[Found]:
    """All installed plugins, sorted by name and then by distribution.

    Example
    -------
    >>> [found.distribution for found in find_plugins() if found.name == "gradient_clipping"]
    ['rnncallbacks']
    """
    found = []
    for distribution in _distributions():
        name, version = _name_and_version(distribution)
        found += [Found(entry.name, name, version, entry) for entry in _entry_points(distribution)]
    claimants = defaultdict(list)
    for one in found:
        claimants[one.name].append(one.distribution)
    found = [attrs.evolve(one, rivals=tuple(sorted(set(claimants[one.name]) - {one.distribution}))) for one in found]
    return sorted(found, key=lambda one: (one.name, one.distribution))


def find_own_plugin(name: str) -> Found:
    """A plugin of this library, found without reading the metadata of other distributions.

    Raises
    ------
    PluginError
        The library has no plugin of this name.

    Example
    -------
    >>> find_own_plugin("progress").distribution
    'rnncallbacks'
    """
    found = _own_plugins()
    if name not in found:
        raise PluginError(f"{OURS} has no plugin {name!r}", hint=closest(name, found))
    return found[name]


@functools.cache
def _own_plugins() -> dict[str, Found]:
    """The plugins of this library by name: those of one installation, so they stay the same in a process."""
    from importlib import metadata

    distribution = metadata.distribution(OURS)
    version = distribution.version
    return {one.name: Found(one.name, OURS, version, one) for one in _entry_points(distribution)}


def _distributions() -> list[Distribution]:
    """The distributions that have plugins, without duplicates."""
    # Imported here: it is slow to import, and a script that lists its plugins itself needs none of it.
    from importlib import metadata

    first: dict[str, Distribution] = {}
    for distribution in metadata.distributions():
        points = _entry_points(distribution)
        if not points:
            continue
        try:
            name, _ = _name_and_version(distribution)
            # Python imports from the first copy on the path only, such as an editable install next to an egg-info.
            first.setdefault(re.sub(r"[-_.]+", "-", name).lower(), metadata.distribution(name))
        except Exception as error:
            modules = ", ".join(one.value for one in points)
            logger.warning("plugins %s are left out: their distribution's metadata cannot be read: %r", modules, error)
    return list(first.values())


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    text = distribution.read_text("METADATA")
    if text is None:  # of an egg
        return distribution.metadata["Name"], distribution.metadata["Version"]
    return _parsed(text)


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[str, str]:
    """Name and version in metadata. Parsing them takes longer than reading them, and each configuration needs them."""
    from email.parser import HeaderParser

    headers = HeaderParser().parsestr(text)
    return headers["Name"], headers["Version"]


def _entry_points(distribution: Distribution) -> list[EntryPoint]:
    try:
        # Hundreds of distributions may be installed, and parsing takes longer than reading.
        if GROUP not in (distribution.read_text("entry_points.txt") or ""):
            return []
        return list(distribution.entry_points.select(group=GROUP))
    except Exception as error:
        text: Any = distribution.read_text("entry_points.txt")
        if GROUP in text:
            logger.warning("the plugins of %s are left out: its entry_points.txt is malformed: %r", distribution, error)
        return []
