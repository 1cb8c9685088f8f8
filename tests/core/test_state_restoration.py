"""State that is put back into plugins: all of it is checked before any is set."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from rnncallbacks.core import saved_objects, state_restoration
from rnncallbacks.core.plugin_state import saved_state, state_field
from rnncallbacks.core.state_encoding import SavedObject, SavedState, decode, encode
from rnncallbacks.core.state_restoration import ObjectRestoration, checked_fields, restore_fields
from rnncallbacks.core.state_types import declared_types
from rnncallbacks.errors import CheckpointError


@attrs.frozen
class Point:
    """A value without state fields."""

    x: float
    label: str = "none"


@attrs.define(eq=False)
class Inner:
    limit: int = 3
    seen: set[int] = state_field(factory=set)
    open: object = state_field(None, saved=False)


@attrs.define(eq=False)
class Outer:
    option: int = 1
    inner: Inner = state_field(factory=Inner)
    best: Point | None = state_field(None)
    by_length: dict[tuple[int, int], list[Point]] = state_field(factory=dict)
    count: int = state_field(0)
    share: float = state_field(0.0)


@pytest.fixture
def typed(monkeypatch):
    """Checks the classes of this module as those of the library, whose types are declared."""
    for module in (state_restoration, saved_objects):
        monkeypatch.setattr(module, "own_types", declared_types)


def saved(target):
    arrays = {}
    return {name: decode(encode(value, name, arrays), arrays) for name, value in saved_state(target).items()}


def restored(target, fields):
    made = checked_fields(target, fields, "file: plugin 'mine'")
    restore_fields(target, ObjectRestoration().put(saved_state(target), made, "plugin"))
    return target


def test_objects_come_back_in_place_or_new_with_options_only_where_they_are_new():
    outer = Outer(option=7)
    outer.inner.seen = {4}
    outer.inner.open = object()
    outer.best = Point(0.5, "best")
    outer.by_length = {(2, 3): [Point(1.0)]}
    outer.count, outer.share = 2, np.float32(0.25)
    again = Outer(option=9)
    inner = again.inner
    restored(again, saved(outer))
    assert again.inner is inner
    assert (again.option, inner.limit, inner.seen, inner.open) == (9, 3, {4}, None)
    assert (again.best, again.by_length) == (Point(0.5, "best"), {(2, 3): [Point(1.0)]})
    assert (again.count, again.share) == (2, 0.25)


BAD = {
    "another type": ({"count": "2"}, "plugin 'mine', count: expected int, got '2'"),
    "truth for a number": ({"count": True}, "count: expected int, got True"),
    "a float for an int": ({"count": 0.5}, "count: expected int, got 0.5"),
    "None for a float": ({"share": None}, "share: expected float, got None"),
    "a list for a dict": ({"by_length": []}, r"by_length: expected dict.*, got \[\]"),
    "nothing for an object": ({"inner": None}, "inner: expected Inner, got None"),
    "another class": ({"inner": SavedObject(f"{__name__}:Point", {"x": 1.0})}, "inner: expected Inner, got Point"),
    "a class of others": (
        {"best": SavedObject("attrs:Attribute", {})},
        "best: expected an object of the package .*, got a attrs:Attribute",
    ),
    "no class": ({"best": SavedObject(f"{__name__}:Nothing", {})}, "best: .*:Nothing is no attrs class here"),
    "no module": ({"best": SavedObject(f"{__name__}.none:Point", {})}, "best: .*Point is no attrs class here"),
    "a function": ({"best": SavedObject(f"{__name__}:saved", {})}, "best: .*:saved is no attrs class here"),
    "a field too few": (
        {"best": SavedObject(f"{__name__}:Point", {})},
        "best: the file lacks the field 'x' of .*Point",
    ),
    "a field too many": ({"best": SavedObject(f"{__name__}:Point", {"x": 1.0, "y": 2.0})}, "best: .* no field 'y'"),
    "inside a new one": (
        {"best": SavedObject(f"{__name__}:Point", {"x": 1.0, "label": 2})},
        "best, label: expected str, got 2",
    ),
    "state of another version": ({"more": 1}, r"has the state \['best', .*, the file has \['best', .*'more'"),
    "an inner one too few": (
        {"inner": SavedObject(f"{__name__}:Inner", {})},
        r"inner has the state \['seen'\], the file has \[\]",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=list(BAD))
def test_what_no_plugin_wrote_is_refused_before_anything_is_set(change, message, typed):
    target = Outer()
    with pytest.raises(CheckpointError, match=message):
        restored(target, saved(Outer()) | change)
    assert (target.best, target.by_length, target.count, target.share) == (None, {}, 0, 0.0)


# Generators and objects with load_state_dict --------------------------------------------------------------------------


class Stateful:
    def __init__(self, value):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        if state["value"] < 0:
            raise ValueError("too small")
        self.value = state["value"]


def round_trip(value):
    arrays = {}
    return decode(encode(value, "state", arrays), arrays)


def test_states_deep_in_containers_are_put_into_the_objects_there():
    rng = np.random.default_rng(5)
    state = {"list": [Stateful(3), (rng, 4)], "array": np.ones(2)}
    here = {"list": [Stateful(0), (np.random.default_rng(0), 0)], "array": np.zeros(2)}
    objects = here["list"][0], here["list"][1][0]
    put = ObjectRestoration().put(here, round_trip(state), "plugin")
    assert put["list"][0] is objects[0]
    assert put["list"][1][0] is objects[1]
    assert (objects[0].value, put["list"][1][1], put["array"].tolist()) == (3, 4, [1, 1])
    assert objects[1].random() == rng.random()


def test_a_refused_state_is_named_and_the_others_are_taken_back():
    first, second = Stateful(1), Stateful(2)
    restoration = ObjectRestoration()
    with pytest.raises(CheckpointError, match="plugin 'a', second does not accept the state in the file: too small"):
        restoration.put(
            {"first": first, "second": second}, round_trip({"first": Stateful(7), "second": Stateful(-1)}), "plugin 'a'"
        )
    restoration.undo()
    assert (first.value, second.value) == (1, 2)


@pytest.mark.parametrize("here", [None, 3, {"held": 3}, {}])
def test_a_state_without_an_object_is_refused(here):
    with pytest.raises(CheckpointError, match="the file has the state of an object with load_state_dict"):
        ObjectRestoration().put(here, {"held": SavedState({"value": 1})}, "plugin 'a'")
