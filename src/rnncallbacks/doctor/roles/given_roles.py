"""Roles given by the user, such as ``--loss 'lossFun():return[0]'``."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from rnncallbacks.doctor.roles.role_table import key_text
from rnncallbacks.doctor.value_walk import Key


@attrs.frozen(kw_only=True)
class GivenRoles:
    """The roles that the user gave; empty if not given.

    Attributes
    ----------
    loss, inputs, targets:
        An expression each, such as ``loss`` or ``loss_of():return[0]``.
    params, grads, state:
        Expressions, or names of containers or objects: ``grads`` means every array in it.
    batch_axis:
        The axis of the inputs along which the sequences of a batch lie.
    """

    loss: str = ""
    params: tuple[str, ...] = ()
    grads: tuple[str, ...] = ()
    inputs: str = ""
    targets: str = ""
    state: tuple[str, ...] = ()
    batch_axis: int | None = None


def is_named(key: Key, names: Iterable[str]) -> bool:
    """Whether one of the names refers to the value of a key, or to its container or object.

    Example
    -------
    >>> key = ("local", "Net.backward", "self.grads['W']")
    >>> [is_named(key, [name]) for name in ("grads", "self.grads['W']", "Net.backward():self.grads", "rads", "W")]
    [True, True, True, False, True]
    """
    return any(_means(name.strip(), key) for name in names)


def _means(name: str, key: Key) -> bool:
    scope, separator, expression = name.rpartition("():")
    if separator and scope != key[1].split("#")[0].replace(".<locals>", ""):
        return False
    if name in (key_text(key), key[2]) or expression == key[2]:
        return True
    parts = key[2].replace("]", "").replace("[", ".").replace("'", "").split(".")
    wanted = expression.replace("]", "").replace("[", ".").replace("'", "").split(".")
    width = len(wanted)
    return any(parts[start : start + width] == wanted for start in range(len(parts) - width + 1))
