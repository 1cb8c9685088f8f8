"""The gradients of one batch, their norm, and three ways to clip them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from operator import attrgetter
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from rnncallbacks.arrays.containers import Array, FlatArrays, NamedArrays, named_arrays
from rnncallbacks.errors import ContainerError, OptionError

Layout: TypeAlias = tuple[list[str], list[tuple[Any, ...]]]
"""The names of arrays in their order, and for each its shape, its dtype and the bits of its flags."""

PLAIN_FLAGS = 0x0404
"""The bits of ``array.flags.num`` of an array that owns its memory and can be written to."""

_described = attrgetter("shape", "dtype", "flags.num")


def global_norm(arrays: Collection[Array]) -> float:
    r"""The Euclidean norm over all arrays together: :math:`\sqrt{\sum_i \lVert a_i \rVert_2^2}`.

    If the squares overflow or underflow in the precision of the arrays, the entries are scaled by the largest one
    first. The norm is NaN if an entry is NaN, else infinity if an entry is infinite.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 3.2.

    Example
    -------
    >>> global_norm([np.array([3.0]), np.array([[4.0]])])
    5.0
    """
    squares = 0.0
    for array in arrays:
        vector = array.ravel("K")
        if vector.itemsize < 4:  # small squares underflow in half precision although the sum is not small
            vector = vector.astype(np.float32)
        squares += float(np.vdot(vector, vector))  # unlike dot, it does not warn of an overflow
    if 1e-30 < squares < math.inf:
        return math.sqrt(squares)
    return 0.0 if not any(array.any() for array in arrays) else _scaled_norm(arrays)


def _scaled_norm(arrays: Collection[Array]) -> float:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        largest = max((float(np.abs(array).max()) for array in arrays if array.size), key=_nan_highest, default=0.0)
        if largest == 0.0 or not math.isfinite(largest):
            return largest
        return largest * math.sqrt(sum(_scaled_squares(array, largest) for array in arrays))


def _nan_highest(value: float) -> float:
    return np.inf if np.isnan(value) else min(value, float(np.finfo(np.float64).max))


def _scaled_squares(array: Array, largest: float) -> float:
    return float(np.square(np.divide(array, largest, dtype=np.float64)).sum())


def clip_by_global_norm(
    arrays: Collection[Array], max_norm: float, *, norm: float | None = None
) -> tuple[float, float]:
    r"""Scale all arrays in place by one factor to a global norm of at most ``max_norm``.

    .. math:: g \leftarrow g \cdot \min(1, \mathrm{max\_norm} / \lVert g \rVert)

    A norm that is NaN or infinite leaves all arrays unchanged, since the factor would make every entry NaN or zero.
    ``norm`` is the norm of the arrays, if it is known. Returns the norm before and after.

    Source: Pascanu et al. (2013), algorithm 1.

    Raises
    ------
    OptionError
        ``max_norm`` is not above 0.

    Example
    -------
    >>> gradient = np.array([6.0, 8.0])
    >>> clip_by_global_norm([gradient], max_norm=5.0)
    (10.0, 5.0)
    >>> gradient
    array([3., 4.])
    """
    _check_bound("max_norm", max_norm)
    norm = global_norm(arrays) if norm is None else norm
    if not math.isfinite(norm) or norm <= max_norm:
        return norm, norm
    factor = max_norm / norm
    for array in arrays:
        # A small factor is rounded to few digits, or to zero, in single precision, and any factor in half precision.
        precision = np.float64 if factor < 1e-30 or array.itemsize < 4 else None
        np.multiply(array, factor, out=array, dtype=precision, casting="same_kind")
    return norm, max_norm


def clip_by_array_norm(arrays: Collection[Array], max_norm: float) -> tuple[float, float]:
    """Scale each array in place to a norm of at most ``max_norm``.

    An array with a NaN or infinite entry is left unchanged. Returns the global norm before and after.

    Raises
    ------
    OptionError
        ``max_norm`` is not above 0.

    Example
    -------
    >>> clip_by_array_norm([np.array([6.0]), np.array([1.0])], max_norm=2.0)
    (6.082762530298219, 2.23606797749979)
    """
    norms = np.array([clip_by_global_norm([array], max_norm) for array in arrays]).reshape(-1, 2)
    return global_norm([norms[:, 0]]), global_norm([norms[:, 1]])


def clip_by_value(arrays: Collection[Array], max_value: float) -> tuple[float, float]:
    """Clip each entry in place to ``[-max_value, max_value]``; NaN and infinite entries are left unchanged.

    Returns the global norm before and after.

    Source: Graves, "Generating sequences with recurrent neural networks" (2013), section 2.1.

    Raises
    ------
    OptionError
        ``max_value`` is not above 0.

    Example
    -------
    >>> gradient = np.array([-7.0, 0.5, np.inf])
    >>> clip_by_value([gradient], max_value=1.0)
    (inf, inf)
    >>> gradient
    array([-1. ,  0.5,  inf])
    """
    _check_bound("max_value", max_value)
    before = global_norm(arrays)
    for array in arrays:
        np.clip(array, -max_value, max_value, out=array, where=np.isfinite(array))
    return before, global_norm(arrays)


def _check_bound(name: str, bound: float) -> None:
    if not bound > 0:
        raise OptionError(f"clipping: expected {name} above 0, got {bound!r}", hint="5.0 is a usual bound for a norm")


class Gradients(NamedArrays[Array]):
    """The gradients of one batch by path, from any container of arrays.

    The arrays are the script's own: a plugin that changes them in place changes the script's update.

    Parameters
    ----------
    container:
        The gradients in any container of arrays.
    earlier:
        Those of an earlier batch, which must have the same names and shapes.

    Attributes
    ----------
    arrays:
        Arrays that hold each entry once, for norms and for clipping: the flat buffer of ``FlatArrays``, else the arrays
        without repetition of tied weights.
    flat:
        The container if it is a ``FlatArrays``, else None.

    Raises
    ------
    ContainerError
        The container has no array, one that is not floating or not writable, or other arrays than the earlier one.

    Example
    -------
    >>> gradients = Gradients({"cell": [np.array([3.0]), np.array([4.0])]})
    >>> sorted(gradients), global_norm(gradients.arrays)
    (['cell.0', 'cell.1'], 5.0)
    """

    def __init__(self, container: object, earlier: Gradients | None = None) -> None:
        self._norm: float | None = None
        self._norm_is_old = False
        self._layout: Layout | None = None
        self.flat: FlatArrays | None = None
        if earlier is not None and _are_plain_arrays_like(container, earlier._layout):
            self._named: Mapping[str, Array] = container.copy()
            self.arrays: list[Array] = list(container.values())
            self._layout = earlier._layout
            return
        if isinstance(container, FlatArrays):
            self._named, self.arrays, self.flat = container, [container.flat], container
        else:
            self._named = named_arrays(container, "gradients")
            _check_usable(self._named)
            self.arrays = _without_repetition(self._named)
        self._layout = _plain_layout(self._named)
        if earlier is not None:
            self._check_same_structure(earlier)

    def __setitem__(self, name: str, value: object) -> None:
        if value is self._named.get(name):
            return  # grads[name] *= 0.5 has changed it in place, and assigns it to itself
        raise ContainerError(
            f"gradients: {name!r} cannot be replaced: the script would not see the new array",
            hint=f"change it in place: grads[{name!r}][...] = value",
        )

    @property
    def norm(self) -> float:
        """The global norm, computed at the first access and kept for the plugins that read it before any change."""
        if self._norm is None:
            self._norm = global_norm(self.arrays)
        return self._norm

    @property
    def current_norm(self) -> float:
        """The global norm after the changes of the plugins that were called before."""
        return global_norm(self.arrays) if self._norm_is_old else self.norm

    def note_change(self) -> None:
        """Note that a plugin may have changed the gradients, or may change them now, for ``current_norm``."""
        self._norm_is_old = True

    def forget_norm(self) -> None:
        """Have ``norm`` computed again at the next access, after a change of the gradients that others should see."""
        self._norm, self._norm_is_old = None, False

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a gradient whose shape differs from that of the parameter of the same name.

        Raises
        ------
        ContainerError
            The message has both shapes.
        """
        for name, array in self.items():
            if array.shape != shapes.get(name, array.shape):
                raise ContainerError(
                    f"{_called(name)} has shape {array.shape}, its parameter {shapes[name]}",
                    hint="a gradient has the shape of its parameter; is a transpose missing?"
                    + (" Or list gradients in the order of the parameters" if name.isdecimal() else ""),
                )

    def _check_same_structure(self, earlier: Gradients) -> None:
        """Refuse gradients whose names or shapes differ: the message names the first array that does."""
        before = earlier._named
        if self._named is before:
            return
        for name, array in self._named.items():
            if name not in before:
                raise ContainerError(
                    f"gradients: {name!r} was not in the batches before, which had {', '.join(map(repr, before))}",
                    hint="return every gradient in every batch, zero where there is none",
                )
            if array.shape != before[name].shape:
                raise ContainerError(
                    f"{_called(name)} has shape {array.shape}, in the batches before {before[name].shape}",
                    hint="a gradient has the shape of its parameter",
                )
        if len(before) > len(self._named):
            missing = next(name for name in before if name not in self._named)
            raise ContainerError(
                f"gradients: {missing!r} is missing; the batches before had it",
                hint="return every gradient in every batch, zero where there is none",
            )


def _plain_layout(named: Mapping[str, Array]) -> Layout | None:
    """The layout of arrays that own their memory and can be written to; None if there are others."""
    described = [_described(array) for array in named.values()]
    is_plain = all(flags & PLAIN_FLAGS == PLAIN_FLAGS for _, _, flags in described)
    return (list(named), described) if is_plain else None


def _are_plain_arrays_like(container: object, layout: Layout | None) -> TypeGuard[dict[str, Array]]:
    """Whether a dict of arrays that own their memory has the layout of an earlier one: no check can fail then.

    Most batches pass it, and it compares whole lists, as each expression for each array would take longer.
    """
    if layout is None or type(container) is not dict or list(container) != layout[0]:
        return False
    arrays = container.values()
    if set(map(type, arrays)) != {np.ndarray} or list(map(_described, arrays)) != layout[1]:
        return False
    return len(set(map(id, arrays))) == len(arrays)


def _check_usable(named: Mapping[str, Array]) -> None:
    if not named:
        raise ContainerError("gradients: expected at least one array, got none")
    for name, array in named.items():
        if array.dtype.kind != "f":
            raise ContainerError(
                f"{_called(name)} has dtype {array.dtype}, expected a floating dtype",
                hint="make the parameters floating, for example np.zeros(shape) and not np.zeros(shape, dtype=int)",
            )
        if not array.flags.writeable:
            raise ContainerError(
                f"{_called(name)} cannot be written to, and plugins change gradients in place",
                hint="copy it first, for example with np.array(gradient)",
            )


def _called(name: str) -> str:
    return f"gradients: {name!r}" if name else "gradients: the array"


def _without_repetition(named: Mapping[str, Array]) -> list[Array]:
    """The arrays, tied weights once: they have two names, one perhaps transposed, and scaling must scale them once."""
    arrays = list(named.values())
    if all(array.base is None for array in arrays) and len({id(array) for array in arrays}) == len(arrays):
        return arrays  # each owns its memory
    return list({_memory(array): array for array in arrays}.values())


def _memory(array: Array) -> tuple[int, int]:
    return array.__array_interface__["data"][0], array.nbytes
