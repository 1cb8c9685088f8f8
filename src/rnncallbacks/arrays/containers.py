"""Containers of arrays: paths, shapes, copies, pairing with gradients, fingerprints.

A container is one array, or a dict, list or tuple of containers, nested to any depth. ``None`` is an empty container.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.container_hints import replacement_for
from rnncallbacks.arrays.dlpack import is_foreign, view_of
from rnncallbacks.errors import ContainerError

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]


AnyArray = TypeVar("AnyArray", bound=Array)


class NamedArrays(Mapping[str, AnyArray]):
    """Arrays by name, with the methods of a mapping that are as fast as those of a dict.

    The inherited ones call ``__getitem__`` for each array, which takes longer than a norm of a small one.
    """

    _named: Mapping[str, AnyArray]

    def __getitem__(self, name: str) -> AnyArray:
        return self._named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._named.keys()

    def values(self) -> ValuesView[AnyArray]:
        """The arrays."""
        return self._named.values()

    def items(self) -> ItemsView[str, AnyArray]:
        """The names with their arrays."""
        return self._named.items()


class FlatArrays(NamedArrays[FloatArray]):
    """Named arrays that are views of one contiguous one-dimensional buffer.

    Parameters
    ----------
    shapes:
        The shape of each array by name, in the order of the buffer.
    dtype:
        The floating dtype of the buffer.

    Example
    -------
    >>> arrays = FlatArrays({"weight": (2, 3), "bias": (2,)}, dtype="float32")
    >>> arrays["bias"][:] = 1.0
    >>> arrays.flat
    array([0., 0., 0., 0., 0., 0., 1., 1.], dtype=float32)
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: npt.DTypeLike = "float32") -> None:
        sizes = [math.prod(shape) for shape in shapes.values()]
        self._layout = tuple(shapes.items())
        self.flat: FloatArray = np.zeros(sum(sizes), dtype=dtype)
        ends = accumulate(sizes)
        self._named = {
            name: self.flat[end - size : end].reshape(shape)
            for (name, shape), size, end in zip(shapes.items(), sizes, ends, strict=True)
        }

    def zeros_like(self) -> FlatArrays:
        """A second set of arrays with the same names, shapes and dtype, all zero."""
        return FlatArrays({name: view.shape for name, view in self._named.items()}, dtype=self.flat.dtype)

    def __reduce__(self) -> tuple[Callable[..., FlatArrays], tuple[Any, ...]]:
        # The default would copy each array on its own, and they would no longer be views of the buffer.
        return _restored, ({name: view.shape for name, view in self._named.items()}, self.flat)


def _restored(shapes: Mapping[str, tuple[int, ...]], flat: FloatArray) -> FlatArrays:
    arrays = FlatArrays(shapes, dtype=flat.dtype)
    arrays.flat[:] = flat
    return arrays


def same_layout(one: object, other: object) -> bool:
    """Whether both are ``FlatArrays`` with the same names and shapes in the same order.

    Example
    -------
    >>> same_layout(FlatArrays({"w": (2, 3)}), FlatArrays({"w": (2, 3)})), same_layout({}, FlatArrays({"w": (2, 3)}))
    (True, False)
    """
    if not isinstance(one, FlatArrays) or not isinstance(other, FlatArrays):
        return False
    return one._layout == other._layout


def named_arrays(container: object, what: str = "container") -> dict[str, Array]:
    """The arrays of a container by path, in the order of the container.

    A path joins keys and positions with dots: ``{"cell": [w, b]}`` has the paths ``cell.0`` and ``cell.1``. The path of
    a single array is the empty string. ``what`` names the container in an error.

    Raises
    ------
    ContainerError
        A leaf is neither an array nor None, or it is a matrix or a masked array; or two leaves have the same path.

    Example
    -------
    >>> sorted(named_arrays({"cell": [np.zeros(2), None], "head": np.ones(1)}))
    ['cell.0', 'head']
    """
    if type(container) is np.ndarray:
        return {"": container}
    if type(container) is dict and _is_flat(container):
        return container.copy()
    found: dict[str, Array] = {}
    _collect(container, "", what, found)
    return found


def named_arrays_or_none(container: object) -> dict[str, Array] | None:
    """The arrays of :func:`named_arrays`, or None if the object is no container of arrays."""
    try:
        return named_arrays(container)
    except ContainerError:
        return None


def _is_flat(container: dict[Any, Any]) -> bool:
    """Whether a dict holds nothing but arrays, with strings for keys: the paths are then the keys."""
    return set(map(type, container)) == {str} and set(map(type, container.values())) == {np.ndarray}


def _collect(node: object, path: str, what: str, found: dict[str, Array]) -> None:
    if isinstance(node, np.ndarray):
        if type(node) is not np.ndarray and isinstance(node, np.matrix | np.ma.MaskedArray):
            raise ContainerError(
                f"{what}{f' at {path!r}' if path else ''}: expected a plain NumPy array, got a {type(node).__name__}",
                hint="convert it with np.array(..., subok=False): its operators differ from those of arrays",
            )
        if path in found:
            raise ContainerError(f"{what}: two arrays have the path {path!r}", hint="rename one of the keys")
        found[path] = node
        return
    if node is None:
        return
    if is_foreign(node):
        _collect(view_of(node, f"{what} at {path!r}" if path else what), path, what, found)
        return
    if isinstance(node, (dict, Mapping)):  # dict first: isinstance is slow for an abstract class
        children: Iterator[tuple[object, object]] = iter(node.items())
    elif isinstance(node, (list, tuple)):
        children = iter(enumerate(node))
    else:
        where = f"{what} at {path!r}" if path else what
        raise ContainerError(
            f"{where}: expected a NumPy array, or a dict, list or tuple of arrays, got {type(node).__name__}",
            hint=replacement_for(node),
        )
    for key, child in children:
        _collect(child, f"{path}.{key}" if path else str(key), what, found)


def named_shapes(container: object, what: str = "container") -> dict[str, tuple[int, ...]]:
    """The shapes of a container's arrays, by the paths of :func:`named_arrays`.

    Raises
    ------
    ContainerError
        As in :func:`named_arrays`.

    Example
    -------
    >>> named_shapes({"cell": [np.zeros((2, 3)), np.zeros(2)]})
    {'cell.0': (2, 3), 'cell.1': (2,)}
    """
    return {name: array.shape for name, array in named_arrays(container, what).items()}


def copied(arrays: Mapping[str, Array], into: Mapping[str, Array]) -> Mapping[str, Array]:
    """Copies of the arrays, written into the arrays of ``into`` if names, shapes and dtypes agree.

    Reusing the arrays saves the time of allocating large ones in each batch. Arrays of one floating dtype are copied
    into one buffer, the ``flat`` of a :class:`FlatArrays`, so that a norm over all of them is one call.

    Example
    -------
    >>> kept = copied({"w": np.ones(2)}, {})
    >>> copied({"w": np.zeros(2)}, kept) is kept, kept["w"]
    (True, array([0., 0.]))
    """
    agrees = list(into) == list(arrays) and all(
        into[name].shape == array.shape and into[name].dtype == array.dtype for name, array in arrays.items()
    )
    if not agrees or not isinstance(into, FlatArrays):
        dtypes = {array.dtype for array in arrays.values()}
        if len(arrays) > 1 and len(dtypes) == 1 and next(iter(dtypes)).kind == "f":
            # Arrays from a checkpoint lie apart, and their norm differs in the last bit.
            into = FlatArrays(named_shapes(arrays), dtypes.pop())
        elif not agrees:
            return {name: array.copy() for name, array in arrays.items()}
    for name, array in arrays.items():
        into[name][...] = array
    return into


def without_views(arrays: Mapping[str, Array]) -> list[Array]:
    """Arrays that hold each entry once, for norms: the buffer of ``FlatArrays``, else the arrays.

    Example
    -------
    >>> [array.shape for array in without_views(FlatArrays({"w": (2, 3), "b": (2,)}))]
    [(8,)]
    """
    return [arrays.flat] if isinstance(arrays, FlatArrays) else list(arrays.values())


def map_arrays(function: Callable[[Array], Array], container: Any) -> Any:
    """A container of the same structure, with ``function`` applied to each array.

    Example
    -------
    >>> map_arrays(np.zeros_like, {"hidden": np.ones(2), "cell": None})
    {'hidden': array([0., 0.]), 'cell': None}
    """
    if isinstance(container, np.ndarray):
        return function(container)
    if isinstance(container, Mapping):
        return {key: map_arrays(function, child) for key, child in container.items()}
    if isinstance(container, tuple):
        children = [map_arrays(function, child) for child in container]
        return type(container)(*children) if hasattr(container, "_fields") else tuple(children)
    if isinstance(container, list):
        return [map_arrays(function, child) for child in container]
    return container


def parameters_of(gradients: Mapping[str, Array], params: Mapping[str, Array]) -> dict[str, Array]:
    """The parameter of each gradient, by the gradient's name; a gradient without an unambiguous parameter is left out.

    A gradient and its parameter have the same shape, and one of these holds: they have the same path (``cell.W``); each
    key in the gradient's path is that of the parameter, but for underscores and a prefix or suffix (``cell.dW``,
    ``cell.W_grad``); no other array has the shape.

    Example
    -------
    >>> import numpy as np
    >>> w, b = np.ones((2, 3)), np.ones(3)
    >>> pairs = parameters_of({"cell.dw": w, "1": b}, {"cell.w": w, "b": b})
    >>> pairs["cell.dw"] is w, pairs["1"] is b
    (True, True)
    """
    if all(name in params and params[name].shape == gradient.shape for name, gradient in gradients.items()):
        return {name: params[name] for name in gradients}
    names = _paired_names(
        tuple((name, array.shape) for name, array in gradients.items()),
        tuple((name, array.shape) for name, array in params.items()),
    )
    return {gradient: params[name] for gradient, name in names}


_NamedShapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


@lru_cache(maxsize=64)
def _paired_names(gradients: _NamedShapes, params: _NamedShapes) -> tuple[tuple[str, str], ...]:
    """The names of gradients and of their parameters, in pairs."""
    shapes, param_shapes = Counter(shape for _, shape in gradients), Counter(shape for _, shape in params)
    pairs: dict[str, str] = {}
    for name, shape in gradients:
        alike = [known for known, other in params if known and other == shape]
        if name in alike:
            pairs[name] = name
            continue
        named = [known for known in alike if is_named_after(name, known)]
        longest = max(map(len, named), default=0)
        fitting = [known for known in named if len(known) == longest]
        if len(fitting) == 1:
            pairs[name] = fitting[0]
        elif shapes[shape] == param_shapes[shape] == 1:
            pairs[name] = next(known for known, other in params if other == shape)
    taken = Counter(pairs.values())
    return tuple((name, known) for name, known in pairs.items() if taken[known] == 1)


def is_named_after(gradient: str, param: str) -> bool:
    """Whether each key in a gradient's path has that of the parameter at its beginning or end, as "dW" has "W"."""
    keys, known = gradient.replace("_", "").split("."), param.replace("_", "").split(".")
    return len(keys) >= len(known) and all(
        key == other or (not other.isdecimal() and other != "" and (key.startswith(other) or key.endswith(other)))
        for key, other in zip(keys[-len(known) :], known, strict=True)
    )


def all_finite(arrays: Iterable[Array]) -> bool:
    """Whether no entry of the arrays is NaN or infinite.

    The norm does not show it: it is also infinite where the squares of finite entries overflow.

    Example
    -------
    >>> all_finite([np.array([1e308, 1e308])]), all_finite([np.zeros(2), np.array([np.nan])])
    (True, False)
    """
    return all(bool(np.isfinite(array).all()) for array in arrays)
