"""Shallow copies of mutable objects: whether an object still equals its copy, and how it is restored.

A copy of a container holds the identities of its members, and a copy of an array holds its bytes. Nothing is compared
with ``==`` of the script's own classes.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, ClassVar

import attrs
import numpy as np

MISSING: Any = object()
"""Marks a missing value."""


class CannotRestoreError(Exception):
    """An object changed and cannot be restored."""


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
        The result of :meth:`read` at the last :meth:`take`.
    """

    holds_members: ClassVar[bool] = False

    of: Any
    content: Any = None

    @abstractmethod
    def read(self) -> Any:
        """The content of the object as it is now."""

    @abstractmethod
    def write(self) -> None:
        """Write the content of the copy into the object.

        Raises
        ------
        Exception
            The object refuses, such as an array that cannot be written to.
        """

    def lend(self, stand_ins: Mapping[int, object]) -> None:
        """Put other objects in place of members, by the members' ``id``, until the content is written back."""
        if not self.holds_members or not any(id(one) in stand_ins for one in self.content):
            return
        content = self.content
        self.content = [stand_ins.get(id(one), one) for one in content]
        try:
            self.write()
        finally:
            self.content = content

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
    """The bytes, shape, dtype and writability of an array, or the identities of the objects in it."""

    def read(self) -> Any:
        array = self.of.view(np.ndarray)  # of an array of objects, the bytes are the objects' addresses
        return array.shape, array.dtype, self.of.flags.writeable, array.tobytes()

    def take(self) -> bool:
        self._objects = self.of.copy() if self.of.dtype.hasobject else None
        return super().take()

    def write(self) -> None:
        shape, dtype, writeable, content = self.content
        one = self.of
        one.flags.writeable = True
        try:
            if one.dtype != dtype or one.shape != shape:
                self._restore_kind(dtype, shape)
            array = one.view(np.ndarray)
            array[...] = np.frombuffer(content, dtype).reshape(shape) if self._objects is None else self._objects
        finally:
            one.flags.writeable = writeable

    def _restore_kind(self, dtype: Any, shape: tuple[int, ...]) -> None:
        one = self.of
        with warnings.catch_warnings():
            # A script that changed them in place has references to this array, and a view is another one.
            warnings.simplefilter("ignore", DeprecationWarning)
            if one.dtype != dtype:
                one.dtype = dtype
            if one.size != math.prod(shape):
                one.resize(shape, refcheck=False)
            elif one.shape != shape:
                one.shape = shape


class KindCopy(ObjectCopy):
    """The class of an object, which a script may assign."""

    holds_members = True

    def read(self) -> list[Any]:
        return [type(self.of)]

    def write(self) -> None:
        object.__setattr__(self.of, "__class__", self.content[0])


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
            if value is MISSING:
                self.remove(name)
            else:
                self.assign(name, value)


def copy_of_slots(one: object, names: tuple[str, ...]) -> NamedCopy:
    """A copy of the attributes that an object keeps in slots."""

    def get(name: str) -> Any:
        try:
            return object.__getattribute__(one, name)
        except AttributeError:
            return MISSING

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
        get=lambda name: variables.get(name, MISSING),
        assign=variables.__setitem__,
        remove=variables.__delitem__,
    )


class ClassCopy(ObjectCopy):
    """The attributes of a class without those of Python: counters, shared buffers, methods."""

    holds_members = True

    def read(self) -> list[Any]:
        data = {name: value for name, value in vars(self.of).items() if not name.startswith("__")}
        return [*data.keys(), *data.values()]

    def write(self) -> None:
        middle = len(self.content) // 2
        kept = dict(zip(self.content[:middle], self.content[middle:], strict=True))
        now = self.read()
        for name in now[: len(now) // 2]:
            if name not in kept:
                delattr(self.of, name)
        for name, value in kept.items():
            if vars(self.of).get(name, MISSING) is not value:
                setattr(self.of, name, value)
