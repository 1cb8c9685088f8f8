"""What a class or function takes, and which values of a configuration are refused, with which words."""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks import options
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.config.option_types import type_text
from rnncallbacks.config.plugin_options import Option, make_plugin, options_of

if TYPE_CHECKING:
    from nowhere import Unknown

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


class Colour(enum.Enum):
    RED = "red"


@attrs.define(eq=False, kw_only=True)
class Base:
    inherited: float = attrs.field(default=0.5, validator=options.number(at_least=0, at_most=1))


@attrs.define(eq=False, kw_only=True)
class Plugin(Base):
    count: int = attrs.field(validator=options.count())
    mode: "Literal['soft', 'hard']" = attrs.field(default="soft", validator=options.one_of("soft", "hard"))
    path: Path = attrs.field(default=Path("here"), converter=Path)
    names: list[str] = attrs.field(factory=list)
    ceiling: float | None = None
    _alias: bool = False
    _state: "Unknown" = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        if self.ceiling is not None and self.ceiling < self.count:
            raise ValueError(f"ceiling {self.ceiling} lies below count {self.count}")


def taking(annotation: Any):
    def make(value):
        return value

    make.__annotations__["value"] = annotation
    return make


# Options


def test_the_options_of_an_attrs_class_are_its_fields_with_init():
    shown = {option.name: (option.type, option.default, option.required) for option in options_of(Plugin).values()}
    assert shown == {
        "inherited": ("float", 0.5, False),
        "count": ("int", None, True),
        "mode": ("Literal['soft', 'hard']", "soft", False),
        "path": ("Path", Path("here"), False),
        "names": ("list[str]", [], False),
        "ceiling": ("float | None", None, False),
        "alias": ("bool", False, False),
    }


def test_the_options_of_functions_dataclasses_and_plain_classes():
    def function(first: int, *rest: int, second: str = "b", third="c", **others: int) -> None: ...

    @dataclass
    class Data:
        size: int = 3

    class Plain:
        def __init__(self, size: "int | None" = None) -> None: ...

    assert list(options_of(function).values()) == [
        Option("first", int, None, True),
        Option("second", str, "b", False),
        Option("third", Any, "c", False),
    ]
    assert options_of(Data)["size"].type == "int"
    assert options_of(Plain)["size"].type == "int | None"


def test_a_type_that_cannot_be_told_takes_anything():
    def function(value: "Unknown") -> None: ...

    assert options_of(function)["value"].annotation is Any
    assert make_plugin(function, {"value": object()})[1] == []


def test_every_shipped_plugin_has_typed_options_and_no_private_one():
    for found in find_plugins():
        if found.distribution == "rnncallbacks":
            for option in options_of(found.load()).values():
                assert option.type != "Any", (found.name, option)
                assert not option.name.startswith("_")


# Values


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "5"),
        (int, 5.0),
        (int, True),
        (float, True),
        (float, "5"),
        (bool, 1),
        (bool, "true"),
        (str, 5),
        (Path, 5),
        (int | None, "none"),
        (Literal[1], True),
        (Literal["a"], "b"),
        (list[int], "12"),
        (list[int], [1, "2"]),
        (list[int], {"1": 2}),
        (tuple[float, float], [0.9]),
        (tuple[float, float], [0.9, 0.99, 0.999]),
        (dict[str, int], {"a": "1"}),
        (dict[str, int], [["a", 1]]),
        (Colour, "blue"),
    ],
)
def test_values_of_another_type_are_refused_with_both(annotation, value):
    made, problems = make_plugin(taking(annotation), {"value": value})
    assert made is None
    ((name, problem),) = problems
    assert name == "value"
    expected = "'a'" if annotation == Literal["a"] else type_text(annotation)
    assert problem.startswith(f"expected {expected}, got {value!r}")


TAKING = {kind: taking(kind) for kind in (int, float, str, bool)}


@given(VALUES)
def test_no_value_is_turned_into_another_kind(value):
    for kind, factory in TAKING.items():
        _, problems = make_plugin(factory, {"value": value})
        fits = type(value) is kind or (kind is float and type(value) is int)
        assert (problems == []) is fits


def test_a_word_close_to_an_allowed_one_is_suggested():
    assert make_plugin(Plugin, {"count": 1, "mode": "sofd"})[1] == [
        ("mode", "expected 'soft' or 'hard', got 'sofd'; did you mean 'soft'?")
    ]


# Plugins


def test_a_plugin_is_made_with_what_was_given_and_defaults():
    plugin, problems = make_plugin(Plugin, {"count": 2, "path": "there", "alias": True, "ceiling": 3})
    assert problems == []
    assert (plugin.count, plugin.path, plugin._alias, plugin.ceiling) == (2, Path("there"), True, 3.0)


def test_all_range_errors_come_together_without_the_class_in_front():
    plugin, problems = make_plugin(Plugin, {"count": 0, "inherited": 2.0, "path": 3, "state": 1})
    assert plugin is None
    assert dict(problems) == {
        "count": "expected an integer >= 1, got 0",
        "inherited": "expected a number >= 0 and <= 1, got 2.0",
        "path": "expected Path, got 3 (int)",
        "state": "there is no such option; the options are: inherited, count, mode, path, names, ceiling, alias",
    }
    assert len(problems) == 4


def test_what_the_finished_plugin_refuses_belongs_to_no_option():
    assert make_plugin(Plugin, {"count": 5, "ceiling": 1.0})[1] == [("", "ceiling 1.0 lies below count 5")]


def test_attrs_own_validators_speak_on_one_line():
    @attrs.define
    class Own:
        low: int = attrs.field(default=0, validator=attrs.validators.instance_of(int))
        high: int = attrs.field(default=1, validator=attrs.validators.gt(0))

    assert make_plugin(Own, {"high": -1})[1] == [("high", "'high' must be > 0: -1")]


def test_a_validator_that_looks_at_another_field_waits_for_it():
    @attrs.define
    class Pair:
        low: int = 0
        high: int = attrs.field(default=1)

        @high.validator
        def _above(self, attribute, value):
            if value <= self.low:
                raise ValueError(f"expected high above low {self.low}, got {value}")

    assert make_plugin(Pair, {"low": 3, "high": 2})[1] == [("high", "expected high above low 3, got 2")]
    assert make_plugin(Pair, {"high": -2})[1] == [("", "expected high above low 0, got -2")]


def test_a_converter_that_fails_is_a_problem_of_its_option():
    @attrs.define
    class Converting:
        size: int = attrs.field(default=1, converter=lambda value: 10 // value)

    assert make_plugin(Converting, {"size": 0})[1] == [
        ("size", "ZeroDivisionError: integer division or modulo by zero")
    ]
    assert make_plugin(Converting, {"size": 5})[0].size == 2


def test_a_function_that_takes_any_option_gets_it():
    assert make_plugin(lambda **given: given, {"anything": 1}) == ({"anything": 1}, [])
