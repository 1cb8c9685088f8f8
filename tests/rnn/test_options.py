from __future__ import annotations

from typing import Any

import attrs
import pytest

from rnncallbacks.errors import OptionError
from rnncallbacks.rnn import options


@attrs.define
class Chosen:
    size: int = attrs.field(default=2, validator=options.count(at_least=2))
    share: float = attrs.field(default=0.0, validator=options.number(at_least=0, below=1))
    kind: str = attrs.field(default="tanh", validator=options.one_of("tanh", "relu"))
    on: bool = attrs.field(default=True, validator=options.flag)


@pytest.mark.parametrize("good", [{"size": 2}, {"share": 0}, {"share": 0.999}, {"kind": "relu"}, {"on": False}])
def test_options_in_range_pass(good: dict[str, Any]) -> None:
    ((name, value),) = good.items()
    assert getattr(Chosen(**good), name) == value


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"size": 1}, "Chosen: size: expected an integer of 2 or more, got 1"),
        ({"size": True}, "Chosen: size: expected an integer of 2 or more, got True"),
        ({"share": 1.0}, "Chosen: share: expected a number of at least 0 and less than 1, got 1.0"),
        ({"share": float("nan")}, "Chosen: share: expected a number of at least 0 and less than 1, got nan"),
        ({"share": False}, "Chosen: share: expected a number of at least 0 and less than 1, got False"),
        ({"kind": "rleu"}, "Chosen: kind: expected 'tanh' or 'relu', got 'rleu'\n  hint: did you mean 'relu'?"),
        ({"kind": 3}, "Chosen: kind: expected 'tanh' or 'relu', got 3"),
        ({"on": 1}, "Chosen: on: expected True or False, got 1"),
    ],
)
def test_options_out_of_range_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Chosen(**bad)
    assert str(caught.value) == message
