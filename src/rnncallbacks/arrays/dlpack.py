"""Views of other libraries' arrays, such as tensors of PyTorch: NumPy arrays that share their memory by DLPack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from rnncallbacks.errors import ContainerError

CPU = 1
"""DLPack's number of the device whose memory NumPy can read, ``kDLCPU``."""


def is_foreign(value: object) -> TypeGuard[Any]:
    """Whether a value is an array of another library than NumPy that exports its memory by DLPack."""
    return not isinstance(value, np.ndarray | np.generic) and hasattr(value, "__dlpack_device__")


def view_of(tensor: Any, where: str) -> npt.NDArray[Any]:
    """A NumPy array that shares the memory of a tensor; ``where`` names the tensor in an error.

    A tensor that requires a gradient is detached, so that changes of the view are not recorded by autograd. The view of
    an array that cannot change, as those of JAX, cannot be written to.

    Source: https://dmlc.github.io/dlpack/latest/python_spec.html

    Raises
    ------
    ContainerError
        The memory is not that of the CPU, or NumPy has no such dtype or layout.

    Example
    -------
    >>> class Tensor:
    ...     def __init__(self, array):
    ...         self.array = array
    ...     def __dlpack_device__(self):
    ...         return self.array.__dlpack_device__()
    ...     def __dlpack__(self, **options):
    ...         return self.array.__dlpack__(**options)
    >>> tensor = Tensor(np.ones(2))
    >>> view_of(tensor, "params")[0] = 3.0
    >>> tensor.array
    array([3., 1.])
    """
    try:
        detached = tensor.detach() if hasattr(tensor, "detach") else tensor
        view: npt.NDArray[Any] = np.from_dlpack(detached)
        if not view.flags.writeable and hasattr(detached, "__array__"):
            # DLPack before 1.0 does not say whether memory may be written to, and NumPy takes the worst.
            other = np.asarray(detached)
            view = other if other.ctypes.data == view.ctypes.data else view
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise _refusal(tensor, where, error) from error
    return view


def _refusal(tensor: Any, where: str, error: Exception) -> ContainerError:
    kind = f"{type(tensor).__module__.partition('.')[0]}.{type(tensor).__name__}"
    device = int(tensor.__dlpack_device__()[0])
    if device != CPU:
        return ContainerError(
            f"{where}: expected memory of the CPU, got a {kind} on DLPack device {device}",
            hint="plugins are NumPy, and their changes of a copy would be lost: train on the CPU",
        )
    return ContainerError(
        f"{where}: NumPy cannot share the memory of a {kind}: {error}",
        hint="pass a dense tensor of float32 or float64",
    )


def with_views(container: Any, what: str) -> Any:
    """The container itself if it holds no foreign array, else one of the same structure with views in their place.

    Raises
    ------
    ContainerError
        As in :func:`view_of`.
    """
    if isinstance(container, np.ndarray) or container is None:
        return container
    if isinstance(container, Mapping):
        views = {key: with_views(child, f"{what} at {key!r}") for key, child in container.items()}
        return container if all(views[key] is child for key, child in container.items()) else views
    if isinstance(container, list | tuple):
        items = [with_views(child, f"{what} at '{place}'") for place, child in enumerate(container)]
        same = all(item is child for item, child in zip(items, container, strict=True))
        return container if same else type(container)(items) if type(container) in (list, tuple) else items
    return view_of(container, what) if is_foreign(container) else container


def with_readable_views(value: Any) -> Any:
    """A value as :func:`with_views` returns it, or the value itself if NumPy cannot read a tensor of it."""
    try:
        return with_views(value, "a value")
    except ContainerError:
        return value
