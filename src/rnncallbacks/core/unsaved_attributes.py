"""Detects state of plugins that are not attrs classes, which checkpoints do not save."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Mapping

import attrs

from rnncallbacks.arrays import Array
from rnncallbacks.core.object_state import has_state_dict
from rnncallbacks.core.state_encoding import encode
from rnncallbacks.errors import CheckpointError

logger = logging.getLogger("rnncallbacks")


class UnsavedAttributes:
    """Compares the attributes of plugins with those at the start of the run, and logs which have changed.

    Only plugins are compared that are neither attrs classes nor have ``state_dict`` and ``load_state_dict``.
    """

    def __init__(self) -> None:
        self._at_start: dict[str, dict[str, str]] = {}
        self._checked = False

    def begin(self, plugins: Mapping[str, object]) -> None:
        """Remember the attributes at the start of the run."""
        self._at_start = {name: _attributes(plugin) for name, plugin in plugins.items() if _is_plain(plugin)}

    def check(self, plugins: Mapping[str, object]) -> None:
        """Log, once in a run, the plugins whose attributes have changed."""
        if self._checked:
            return
        self._checked = True
        for name, before in self._at_start.items():
            now = _attributes(plugins[name]) if name in plugins else before
            changed = sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))
            if changed:
                logger.warning(
                    "checkpoints do not save the state of the plugin %r: its class is no attrs class and has no "
                    "state_dict and load_state_dict; in a run that resumes it starts without what is in %s",
                    name,
                    ", ".join(changed),
                )


def _is_plain(plugin: object) -> bool:
    return not (attrs.has(type(plugin)) or has_state_dict(plugin) or inspect.ismodule(plugin))


def _attributes(plugin: object) -> dict[str, str]:
    """A fingerprint of each attribute; the identity of those that cannot be encoded."""
    found = {}
    for name, value in getattr(plugin, "__dict__", {}).items():
        arrays: dict[str, Array] = {}
        try:
            text = json.dumps(encode(value, name, arrays))
        except (CheckpointError, ValueError, RecursionError):
            found[name] = str(id(value))
            continue
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
        for array in arrays.values():
            digest.update(array.tobytes())
        found[name] = digest.hexdigest()
    return found
