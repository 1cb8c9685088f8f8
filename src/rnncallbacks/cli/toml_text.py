"""Values as TOML text: Python's standard library reads TOML and does not write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def toml_table(name: str, values: Mapping[str, Any]) -> str:
    """A table in TOML. Values that are None are left out, because TOML has no null.

    Example
    -------
    >>> print(toml_table("train", {"text": None, "epochs": 3, "betas": (0.9, 0.999)}))
    [train]
    epochs = 3
    betas = [0.9, 0.999]
    """
    return "\n".join(
        [f"[{name}]", *(f"{toml_key(key)} = {_toml(value)}" for key, value in values.items() if value is not None)]
    )


def toml_key(key: str) -> str:
    """A key, in quotes if it needs them.

    >>> toml_key("max_norm"), toml_key("two words")
    ('max_norm', '"two words"')
    """
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _toml(key)


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{toml_key(key)} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, float):
        return repr(value)  # TOML has inf and nan too
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    # A JSON string is a TOML string, except for this control character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
