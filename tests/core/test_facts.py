from pathlib import Path

import attrs
import numpy as np
import pytest

from rnncallbacks.core.facts import Facts, facts_of, plugin_facts
from rnncallbacks.errors import OptionError


@attrs.define(eq=False)
class Noise:
    scale: float = 0.5
    path: Path | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    flag: bool = True
    _drawn: int = attrs.field(default=0, init=False)


class Plain:
    def __init__(self, limit: int = 3, forgotten: str = "") -> None:
        self.limit = limit


def test_options_become_facts_and_none_is_left_out() -> None:
    assert facts_of("noise", Noise()) == {"noise.scale": 0.5, "noise.betas": "(0.9, 0.999)", "noise.flag": True}
    assert facts_of("noise", Noise(path=Path("runs") / "a"))["noise.path"] == str(Path("runs") / "a")
    assert facts_of("plain", Plain(7)) == {"plain.limit": 7}
    assert facts_of("other", object()) == {}
    assert facts_of("noise", Noise(betas=facts_of)) == {  # type: ignore[arg-type]
        "noise.scale": 0.5,
        "noise.betas": "<function facts_of>",  # without the address, which is another one when the run resumes
        "noise.flag": True,
    }


def test_plugins_are_listed_in_their_order() -> None:
    assert plugin_facts({"b": Plain(1), "a": Plain(2)}) == {"plugins": "b, a", "b.limit": 1, "a.limit": 2}
    assert plugin_facts({}) == {}


def test_options_are_read_when_they_are_asked_for() -> None:
    plugin = Plain(1)
    facts = Facts({}, lambda: plugin_facts({"plain": plugin}))
    plugin.limit = 9
    assert facts["plain.limit"] == 9


def test_a_given_fact_replaces_a_derived_one_in_its_place() -> None:
    facts = Facts({"a": 1}, lambda: {"a": 0, "b": 2})
    assert list(facts.items()) == [("a", 1), ("b", 2)]
    del facts["a"]
    assert (facts["a"], len(facts)) == (0, 2)
    assert repr(facts) == "Facts({'a': 0, 'b': 2})"


def test_numpy_scalars_become_numbers_of_python() -> None:
    facts = Facts({"one": np.int64(3), "two": np.float32(0.5), "three": np.bool_(True)})
    assert [type(value) for value in facts.values()] == [int, float, bool]


@pytest.mark.parametrize("value", [None, [1], np.zeros(2), {"a": 1}])
def test_what_is_no_fact_is_refused_by_name(value: object) -> None:
    with pytest.raises(OptionError, match="facts: 'size': expected a number, a string or a truth value"):
        Facts({"size": value})


def test_names_are_strings_and_facts_a_mapping() -> None:
    with pytest.raises(OptionError, match="expected a name"):
        Facts({3: 1})  # type: ignore[dict-item]
    with pytest.raises(OptionError, match="expected a mapping"):
        Facts(["size"])  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        Facts({})["size"]
