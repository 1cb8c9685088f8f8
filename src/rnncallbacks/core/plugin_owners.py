"""Records the run that uses a plugin: one object in two runs at once would mix their batches."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from weakref import WeakValueDictionary

from rnncallbacks.errors import PluginError

_OWNERS: WeakValueDictionary[int, Mapping[str, object]] = WeakValueDictionary()
"""The plugins of the run that uses a plugin, by the ``id`` of the plugin, which they keep alive."""


def claim(plugins: Mapping[str, object], owner: Mapping[str, object]) -> None:
    """Assign plugins to the run whose plugins are ``owner``: all of them, or none.

    Raises
    ------
    PluginError
        Another run uses one of them, and has not ended.

    Example
    -------
    >>> from rnncallbacks.core.plugin_manager import Plugins
    >>> one, other, shared = Plugins([]), Plugins([]), object()
    >>> claim({"shared": shared}, one)
    >>> release({"shared": shared}, one)
    >>> claim({"shared": shared}, other)
    """

    def is_taken(plugin: object) -> bool:
        return _OWNERS.get(id(plugin), owner) is not owner

    if any(map(is_taken, plugins.values())):
        gc.collect()  # a run that was dropped without an end is in cycles of references
    for name, plugin in plugins.items():
        if is_taken(plugin):
            raise PluginError(
                f"plugin {name!r} is in another run, which has not ended: it would mix the batches of the two",
                hint=f"make a second object of the class {type(plugin).__name__}, or leave the with block of that run",
            )
    for plugin in plugins.values():
        _OWNERS[id(plugin)] = owner


def release(plugins: Mapping[str, object], owner: Mapping[str, object]) -> None:
    """Release plugins of ``owner``, so that another run may use them."""
    for plugin in plugins.values():
        if _OWNERS.get(id(plugin)) is owner:
            del _OWNERS[id(plugin)]
