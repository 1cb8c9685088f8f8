"""Detects attributes of plugins that change during a run, and that checkpoints do not save."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Mapping
from typing import Any

import attrs

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.object_state import has_state_dict
from rnncallbacks.core.state_encoding import encode
from rnncallbacks.errors import CheckpointError

logger = logging.getLogger("rnncallbacks")


class UnsavedAttributes:
    """Compares the attributes of plugins with those at the start of the run, and logs which have changed.

    For an attrs class, these are its options: state is declared with ``state_field``. Plugins with ``state_dict`` and
    ``load_state_dict`` are left out.
    """

    def __init__(self) -> None:
        self._at_start: dict[str, dict[str, str]] = {}
        self._checked = False

    def begin(self, plugins: Mapping[str, object]) -> None:
        """Remember the attributes at the start of the run."""
        self._at_start = {name: _fingerprints(plugin) for name, plugin in plugins.items()}

    def check(self, plugins: Mapping[str, object]) -> None:
        """Log, once in a run, the plugins whose attributes have changed."""
        if self._checked:
            return
        self._checked = True
        for name, before in self._at_start.items():
            now = _fingerprints(plugins[name]) if name in plugins else before
            changed = sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))
            if changed:
                logger.warning(
                    "checkpoints do not save %s of the plugin %r, which changed during the run: %s",
                    ", ".join(changed),
                    name,
                    "options are not state; declare state with state_field"
                    if attrs.has(type(plugins[name]))
                    else "its class is no attrs class, and has no state_dict and load_state_dict",
                )


def _fingerprints(plugin: object) -> dict[str, str]:
    """A fingerprint of each attribute that is neither saved nor left out on purpose."""
    if has_state_dict(plugin) or inspect.ismodule(plugin):
        return {}
    kind: Any = type(plugin)
    if attrs.has(kind):
        options = (field.name for field in attrs.fields(kind) if field.init)
        return {name: _fingerprint(name, getattr(plugin, name, None)) for name in options}
    return {name: _fingerprint(name, value) for name, value in getattr(plugin, "__dict__", {}).items()}


def _fingerprint(name: str, value: object) -> str:
    """A digest of the value, or the identity of one that cannot be encoded."""
    arrays: dict[str, Array] = {}
    try:
        text = json.dumps(encode(value, name, arrays))
    except (CheckpointError, ValueError, RecursionError):
        return str(id(value))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for array in arrays.values():
        digest.update(array.tobytes())
    return digest.hexdigest()
