from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from rnncallbacks.errors import ContainerError, RnnCallbacksError, ShapeError
from rnncallbacks.rnn.layers.padding import sequence_lengths
from rnncallbacks.rnn.model import RecurrentModel

ONE = np.zeros((2, 3))


def test_the_last_step_that_counts() -> None:
    mask = np.array([[True, False, False, True], [False, False, True, True], [False, False, False, True]])
    assert sequence_lengths(mask).tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize(
    ("options", "structure"),
    [
        ({}, (2, 3)),
        ({"cell": "gru"}, (2, 3)),
        ({"cell": "lstm"}, ((2, 3), (2, 3))),
        ({"num_layers": 2}, ((2, 3), (2, 3))),
        ({"cell": "lstm", "bidirectional": True}, (((2, 3), (2, 3)), ((2, 3), (2, 3)))),
    ],
)
def test_the_zero_state_is_built_like_the_network(options: dict[str, Any], structure: Any) -> None:
    def shapes(state: Any) -> Any:
        return tuple(map(shapes, state)) if isinstance(state, tuple) else state.shape

    model = RecurrentModel(3, vocab_size=4, **options)
    state = model.zero_state(2)
    assert shapes(state) == structure
    _, final = model.predict(np.zeros((1, 2), int), state)
    assert shapes(final) == structure


BAD: list[tuple[dict[str, Any], Any, type[RnnCallbacksError], str]] = [
    ({}, None, ContainerError, "state: expected a float array, got NoneType"),
    ({}, ONE.astype(int), ContainerError, "state: expected a float array, got an array of int"),
    ({}, (ONE, ONE), ContainerError, "state: expected a float array, got tuple"),
    ({}, np.zeros((3, 3)), ShapeError, r"state of shape \(3, 3\).*expected \(2, 3\)"),
    ({"cell": "lstm"}, ONE, ContainerError, r"state: expected a tuple of 2, got an array of float64.*an LSTM"),
    ({"cell": "lstm"}, (ONE,), ContainerError, "state: expected a tuple of 2, got tuple of 1"),
    ({"cell": "lstm"}, (ONE, ONE[:1]), ShapeError, r"state\[1\] of shape \(1, 3\)"),
    (
        {"cell": "lstm", "num_layers": 2},
        ((ONE, ONE), (ONE, None)),
        ContainerError,
        r"state\[1\]\[1\]: expected a float",
    ),
]


@pytest.mark.parametrize(("options", "state", "error", "message"), BAD)
def test_another_state_is_refused(
    options: dict[str, Any], state: Any, error: type[RnnCallbacksError], message: str
) -> None:
    model = RecurrentModel(3, vocab_size=4, **options)
    with pytest.raises(error) as caught:
        model.predict(np.zeros((1, 2), int), state)
    assert re.search(message, str(caught.value).replace("\n", " "))


def test_a_list_serves_as_a_tuple() -> None:
    model = RecurrentModel(3, vocab_size=4, cell="lstm")
    outputs, _ = model.predict(np.zeros((1, 2), int), [ONE, ONE])
    np.testing.assert_array_equal(outputs, model.predict(np.zeros((1, 2), int), (ONE, ONE))[0])
