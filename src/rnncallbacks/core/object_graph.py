"""Finds the objects that an object refers to, and the kind of copy for each."""

from __future__ import annotations

import array
import functools
import gc
import random
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from io import IOBase
from pathlib import Path
from types import CellType, CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import attrs
import numpy as np

from rnncallbacks.core.object_copies import (
    ArrayCopy,
    BufferCopy,
    CellCopy,
    ClassCopy,
    DictCopy,
    KindCopy,
    ObjectCopy,
    SequenceCopy,
    SetCopy,
    copy_of_slots,
    copy_of_variables,
)
from rnncallbacks.core.position_copies import ArrayModuleCopy, GeneratorCopy, PositionCopy

ATOM_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes, np.dtype, range, slice, CodeType})
"""Types whose instances never change."""
_OWN_STATE = (
    "rnncallbacks.rnn",
    "rnncallbacks.arrays.containers",
    "rnncallbacks.core.batch",
    "rnncallbacks.core.hidden_state",
)
"""Modules and folders of this package whose objects a loss function may change, as by ``run.hidden``."""
_OPEN_LIBRARIES = frozenset({"types", "argparse", "collections", "functools", "weakref", "queue"})
"""Modules of the standard library whose objects hold values of a script, such as ``SimpleNamespace``."""

_HEAP_TYPE = 1 << 9
"""The flag of classes that are written in Python: only the class of their objects can be assigned."""

_CACHED_FUNCTION: Any = type(functools.lru_cache(maxsize=1)(len))

# How far the search enters a module: not at all, the attributes of its objects, or its functions and classes too.
CLOSED, OBJECTS, EVERYTHING = range(3)


@attrs.frozen(eq=False)
class Variables:
    """Some global variables of a module: those that a function's code names."""

    of: dict[str, Any]
    names: tuple[str, ...]


def copies_of(one: Any) -> Iterator[ObjectCopy]:
    """The copies that hold the whole content of an object; none for one that cannot change.

    Example
    -------
    >>> [type(copy).__name__ for copy in copies_of([1, 2])], list(copies_of((1, 2)))
    (['SequenceCopy'], [])
    """
    kind: Any = type(one)
    if kind is Variables:
        yield copy_of_variables(one.of, one.names)
        return
    if issubclass(kind, type):
        if openness(one.__module__) == EVERYTHING:
            yield ClassCopy(one)
        return
    if kind.__flags__ & _HEAP_TYPE and openness(kind.__module__) == EVERYTHING:
        yield KindCopy(one)
    copied = _copy_class(kind)
    if copied is not None and not (issubclass(kind, np.ndarray) and _is_read_only_view(one)):
        yield copied(one)
    slots = slots_of(kind)
    if slots:
        yield copy_of_slots(one, slots)


def objects_behind(one: Any) -> Iterator[object]:
    """The objects that an object holds, or that its functions name.

    Example
    -------
    >>> list(objects_behind({"w": 1.0, "b": [2.0]}))
    ['w', 'b', 1.0, [2.0]]
    """
    kind: Any = type(one)
    if kind is Variables:
        yield from (one.of[name] for name in one.names if name in one.of)
    elif kind is FunctionType:
        yield from _behind_function(one)
    elif kind is MethodType:
        yield from (one.__self__, one.__func__)
    elif kind is CellType:
        yield from gc.get_referents(one)
    elif kind is property:
        yield from (one.fget, one.fset)
    elif kind in (staticmethod, classmethod):
        yield one.__func__
    elif issubclass(kind, type):
        if openness(one.__module__) == EVERYTHING:
            # Special methods are called by operators, so they count as well; the rest of the dunder names does not.
            yield from (value for name, value in vars(one).items() if type(value) is FunctionType or name[:2] != "__")
            yield from one.__bases__
            yield type(one)
    elif not issubclass(kind, ModuleType):
        yield from _members(one, kind)
        yield from _attributes(one, kind)


def _members(one: Any, kind: type) -> Iterator[object]:
    if issubclass(kind, dict):
        yield from dict.keys(one)
        yield from dict.values(one)
    elif issubclass(kind, list | tuple | set | frozenset | deque):
        yield from one
    elif issubclass(kind, np.ndarray):
        if one.dtype.hasobject:
            yield from _objects_in(one.view(np.ndarray))
    elif issubclass(kind, functools.partial):
        yield from (one.func, one.args, one.keywords)
    elif kind is memoryview:
        yield one.obj
    elif kind is ContextVar:
        yield one.get(None)  # the variable itself is set in a context of the function's own
    elif kind is _CACHED_FUNCTION:
        yield one.__wrapped__
        for cached in gc.get_referents(one):
            # What is cached may be an array. The cache itself is left alone: it must agree with its list.
            yield from cached.values() if type(cached) is dict else (cached,)
    elif issubclass(kind, threading.local):
        yield one.__dict__  # that of this thread
    elif _is_iterator(kind):
        yield from gc.get_referents(one)  # the iterators inside zip, map and enumerate


def _objects_in(one: Any) -> Iterator[object]:
    """The objects in an array, also in the fields of a structured one."""
    if one.dtype.names is None:
        yield from one.flat
    else:
        for name in one.dtype.names:
            if one.dtype[name].hasobject:
                yield from _objects_in(one[name])


def _attributes(one: Any, kind: Any) -> Iterator[object]:
    how_far = openness(kind.__module__)
    if how_far == CLOSED:
        return
    if how_far == EVERYTHING:
        yield kind
    for name in ("__dict__", *slots_of(kind)):
        with suppress(AttributeError):
            yield object.__getattribute__(one, name)  # past __getattr__ of the script


def _behind_function(function: FunctionType) -> Iterator[object]:
    yield from function.__closure__ or ()
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield function.__dict__
    variables = function.__globals__
    if openness(variables.get("__name__")) != EVERYTHING:
        return
    names = _names(function.__code__)
    entered: list[dict[str, Any]] = []
    waiting = [variables]
    while waiting:
        scope = waiting.pop()
        entered.append(scope)
        yield Variables(scope, names)
        for name in names:
            value = scope.get(name)
            if isinstance(value, ModuleType) and openness(value.__name__) == EVERYTHING:
                inner = vars(value)
                if not any(inner is known for known in entered):
                    waiting.append(inner)


@functools.lru_cache(maxsize=4096)
def _names(code: CodeType) -> tuple[str, ...]:
    """The names of global variables and attributes in the code of a function and of the functions inside it."""
    inner = (name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant))
    return tuple(dict.fromkeys([*code.co_names, *inner]))


@functools.lru_cache(maxsize=1024)
def slots_of(kind: type) -> tuple[str, ...]:
    """The names of the attributes that a class keeps in slots, if the search enters its objects."""
    if openness(kind.__module__) == CLOSED:
        return ()
    names = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots if isinstance(slots, Iterable) else ():
            private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in dict.fromkeys(names) if name not in ("__dict__", "__weakref__"))


@functools.cache
def _copies_by_kind() -> tuple[tuple[Any, type[ObjectCopy]], ...]:
    """The classes of objects that are copied as a whole, and their copies.

    A function, because NumPy imports its random number generators when they are first named.
    """
    generators = (
        random.Random | np.random.Generator | np.random.BitGenerator | np.random.RandomState | np.random.SeedSequence
    )
    return (
        (np.ndarray, ArrayCopy),
        (dict, DictCopy),
        (list | deque, SequenceCopy),
        (set, SetCopy),
        (bytearray, BufferCopy),
        (array.array, ArrayModuleCopy),
        (CellType, CellCopy),
        (generators, GeneratorCopy),
        (IOBase | GeneratorType, PositionCopy),
    )


@functools.lru_cache(maxsize=1024)
def _copy_class(kind: type) -> type[ObjectCopy] | None:
    for base, copied in _copies_by_kind():
        if issubclass(kind, base):
            return copied
    return PositionCopy if _is_iterator(kind) else None


def _is_iterator(kind: type) -> bool:
    """Whether a class is an iterator of Python itself, such as that of a list."""
    return kind.__module__ in ("builtins", "itertools") and hasattr(kind, "__next__")


def _is_read_only_view(array: Any) -> bool:
    """Whether an array cannot be changed through itself: a view of read-only memory, such as a mapped file."""
    return array.base is not None and not array.flags.writeable


@functools.cache
def openness(module: object) -> int:
    """How far the search enters a module: ``CLOSED``, ``OBJECTS`` or ``EVERYTHING``.

    A script's own modules are entered wholly. Installed packages are not searched for the state of their modules.

    Example
    -------
    >>> openness("__main__") == EVERYTHING, openness("numpy") == OBJECTS, openness("logging") == CLOSED
    (True, True, True)
    """
    if not module or module == "__main__":  # no name: a function that was made by exec
        return EVERYTHING
    if not isinstance(module, str):  # of some classes of compiled packages, it is a descriptor
        return CLOSED
    root = module.partition(".")[0]
    if root == "rnncallbacks":
        return OBJECTS if any(module == own or module.startswith(f"{own}.") for own in _OWN_STATE) else CLOSED
    if root in sys.stdlib_module_names:
        return OBJECTS if root in _OPEN_LIBRARIES else CLOSED
    path = getattr(sys.modules.get(module), "__file__", None)
    installed = root == "numpy" or (path is not None and {"site-packages", "dist-packages"} & set(Path(path).parts))
    return OBJECTS if installed else EVERYTHING
