"""Shallow copies of mutable objects: whether an object still equals its copy, and how it is put back.

A copy of a container holds the identities of its members, and a copy of an array holds its bytes. Nothing is compared
with ``==`` of the script's own classes.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from io import IOBase
from operator import is_, length_hint
from types import FrameType, GeneratorType
from typing import Any, ClassVar

import attrs
import numpy as np

_MISSING: Any = object()


class CannotRestoreError(Exception):
    """An object changed, and there is no way to put it back."""


@attrs.define(eq=False)
class ObjectCopy(ABC):
    """The content of one object at the time of :meth:`take`.

    A subclass defines :meth:`read` and :meth:`write`. The content is compared with ``==``, so it consists of bytes,
    numbers and strings, unless ``holds_members`` says that it is a flat list of objects, compared by identity.

    Attributes
    ----------
    of:
        The object.
    content:
        What :meth:`read` returned at the last :meth:`take`.
    """

    holds_members: ClassVar[bool] = False

    of: Any
    content: Any = None

    @abstractmethod
    def read(self) -> Any:
        """The content of the object as it is now."""

    @abstractmethod
    def write(self) -> None:
        """Give the object the content of the copy.

        Raises
        ------
        Exception
            The object refuses, such as an array that cannot be written to.
        """

    def take(self) -> bool:
        """Copy the object, and return whether its content differs from that of the copy before."""
        before, self.content = self.content, self.read()
        return not self._equal(before, self.content)

    @property
    def changed(self) -> bool:
        """Whether the object differs from its copy."""
        return not self._equal(self.content, self.read())

    def _equal(self, one: Any, other: Any) -> bool:
        if not self.holds_members:
            return bool(one == other)
        return one is not None and len(one) == len(other) and all(map(is_, one, other))


class ArrayCopy(ObjectCopy):
    """The bytes of an array, or the identities of the objects in it."""

    def read(self) -> Any:
        array = self.of.view(np.ndarray)
        return array.shape, array.tobytes()  # of an array of objects, the bytes are the objects' addresses

    def take(self) -> bool:
        self._objects = self.of.copy() if self.of.dtype.hasobject else None
        return super().take()

    def write(self) -> None:
        shape, content = self.content
        array = self.of.view(np.ndarray)
        if self._objects is not None:
            array[...] = self._objects
        else:
            array[...] = np.frombuffer(content, array.dtype).reshape(shape)


class DictCopy(ObjectCopy):
    """The keys and values of a dict, in order."""

    holds_members = True

    def read(self) -> list[Any]:
        return [*self.of.keys(), *self.of.values()]

    def write(self) -> None:
        kind = OrderedDict if isinstance(self.of, OrderedDict) else dict  # past the methods of a subclass
        keys, values = self.content[: len(self.content) // 2], self.content[len(self.content) // 2 :]
        kind.clear(self.of)
        for key, value in zip(keys, values, strict=True):
            kind.__setitem__(self.of, key, value)


class SequenceCopy(ObjectCopy):
    """The members of a list or a deque."""

    holds_members = True

    def read(self) -> list[Any]:
        return list(self.of)

    def write(self) -> None:
        kind: Any = deque if isinstance(self.of, deque) else list
        kind.clear(self.of)
        kind.extend(self.of, self.content)


class SetCopy(ObjectCopy):
    """The members of a set."""

    holds_members = True

    def read(self) -> list[Any]:
        return list(self.of)

    def write(self) -> None:
        set.clear(self.of)
        set.update(self.of, self.content)


class BufferCopy(ObjectCopy):
    """The bytes of a ``bytearray``."""

    def read(self) -> bytes:
        return bytes(self.of)

    def write(self) -> None:
        self.of[:] = self.content


class CellCopy(ObjectCopy):
    """The value of a variable that a function closes over."""

    holds_members = True

    def read(self) -> list[Any]:
        try:
            return [self.of.cell_contents]
        except ValueError:  # the variable has no value yet
            return []

    def write(self) -> None:
        if self.content:
            self.of.cell_contents = self.content[0]
        else:
            del self.of.cell_contents


@attrs.define(eq=False)
class NamedCopy(ObjectCopy):
    """The values of some names of an object, which may also be missing: slots, class attributes, global variables."""

    holds_members = True

    names: tuple[str, ...] = attrs.field(kw_only=True)
    get: Callable[[str], Any] = attrs.field(kw_only=True)
    assign: Callable[[str, Any], None] = attrs.field(kw_only=True)
    remove: Callable[[str], None] = attrs.field(kw_only=True)

    def read(self) -> list[Any]:
        return [self.get(name) for name in self.names]

    def write(self) -> None:
        for name, value in zip(self.names, self.content, strict=True):
            now = self.get(name)
            if now is value:
                continue
            if value is _MISSING:
                self.remove(name)
            else:
                self.assign(name, value)


def copy_of_slots(one: object, names: tuple[str, ...]) -> NamedCopy:
    """A copy of the attributes that an object keeps in slots."""

    def get(name: str) -> Any:
        try:
            return object.__getattribute__(one, name)
        except AttributeError:
            return _MISSING

    return NamedCopy(
        one,
        names=names,
        get=get,
        assign=lambda name, value: object.__setattr__(one, name, value),  # past frozen classes
        remove=lambda name: object.__delattr__(one, name),
    )


def copy_of_variables(variables: dict[str, Any], names: tuple[str, ...]) -> NamedCopy:
    """A copy of some global variables of a module."""
    return NamedCopy(
        variables,
        names=names,
        get=lambda name: variables.get(name, _MISSING),
        assign=variables.__setitem__,
        remove=variables.__delitem__,
    )


class ClassCopy(ObjectCopy):
    """The attributes of a class that are neither methods nor other descriptors: counters, shared buffers."""

    holds_members = True

    def read(self) -> list[Any]:
        data = {
            name: value
            for name, value in vars(self.of).items()
            if not name.startswith("__") and not hasattr(type(value), "__get__")
        }
        return [*data.keys(), *data.values()]

    def write(self) -> None:
        middle = len(self.content) // 2
        kept = dict(zip(self.content[:middle], self.content[middle:], strict=True))
        now = self.read()
        for name in now[: len(now) // 2]:
            if name not in kept:
                delattr(self.of, name)
        for name, value in kept.items():
            if vars(self.of).get(name, _MISSING) is not value:
                setattr(self.of, name, value)


class GeneratorCopy(ObjectCopy):
    """The state of a random number generator, of NumPy or of ``random``. Without an object, NumPy's global one."""

    _first: Any = None

    def rewind(self) -> None:
        """Set the generator to its state at the first call, so that each call is followed by the same numbers."""
        if self._first is None:
            self._first = self.content
        elif not self._equal(self._first, self.content):
            self._set(self._first[1])

    def read(self) -> Any:
        one = self.of
        if isinstance(one, random.Random):
            state: Any = one.getstate()
        elif one is None or isinstance(one, np.random.RandomState):
            state = (np.random if one is None else one).get_state(legacy=False)
        else:
            state = _bits_of(one).state
        return _comparable(state), state

    def write(self) -> None:
        self._set(self.content[1])

    def _set(self, state: Any) -> None:
        one = self.of
        if isinstance(one, random.Random):
            one.setstate(state)
        elif one is None or isinstance(one, np.random.RandomState):
            (np.random if one is None else one).set_state(state)
        else:
            _bits_of(one).state = state

    def _equal(self, one: Any, other: Any) -> bool:
        return one is not None and bool(one[0] == other[0])


class PositionCopy(ObjectCopy):
    """The position of a generator, an iterator or an open file. Only files that are read can be put back."""

    def read(self) -> Any:
        one = self.of
        try:
            if isinstance(one, IOBase):
                return one.tell()
            if isinstance(one, GeneratorType):
                frame: FrameType | None = one.gi_frame
                return None if frame is None else (frame.f_lasti, tuple(map(id, frame.f_locals.values())))
            return length_hint(one, -1), repr(one)
        except (OSError, ValueError, TypeError):  # a file that is closed, or has no position
            return None

    def write(self) -> None:
        if isinstance(self.of, IOBase) and not self.of.writable():
            self.of.seek(self.content)
        else:
            raise CannotRestoreError("it has moved on")


def _bits_of(generator: Any) -> Any:
    return generator.bit_generator if isinstance(generator, np.random.Generator) else generator


def _comparable(state: Any) -> Any:
    """The state of a random number generator, with bytes in place of arrays."""
    if isinstance(state, dict):
        return {key: _comparable(value) for key, value in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state
