from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.model import RecurrentModel


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0", "head.weight", "head.bias"]),
        (
            {"cell": "lstm", "embedding_size": 3, "tie_weights": True},
            [
                "embedding.weight",
                "rnn.weight_ih_l0",
                "rnn.weight_hh_l0",
                "rnn.bias_ih_l0",
                "rnn.bias_hh_l0",
                "head.bias",
            ],
        ),
    ],
)
def test_parameters_lie_in_pytorchs_order(options: dict[str, Any], names: list[str]) -> None:
    assert list(RecurrentModel(3, vocab_size=4, **options).parameters) == names


def test_shapes_of_directions_and_layers() -> None:
    parameters = RecurrentModel(3, vocab_size=4, cell="gru", num_layers=2, bidirectional=True).parameters
    assert parameters["rnn.weight_ih_l0_reverse"].shape == (9, 4)
    assert parameters["rnn.weight_ih_l1"].shape == (9, 6)
    assert parameters["head.weight"].shape == (4, 6)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "expected either vocab_size or input_size"),
    ({"vocab_size": 4, "dtype": np.int64}, "dtype"),
    ({"vocab_size": 4, "input_size": 3}, "expected either vocab_size or input_size"),
    ({"input_size": 3}, "input_size needs output_size"),
    ({"input_size": 3, "output_size": 2, "embedding_size": 2}, "embedding_size needs vocab_size"),
    ({"vocab_size": 4, "cell": "LSTM"}, "cell: expected 'vanilla' or 'lstm' or 'gru', got 'LSTM'"),
    (
        {"vocab_size": 4, "cell": "lstm", "nonlinearity": "relu"},
        "nonlinearity needs cell='vanilla', got cell='lstm'",
    ),
    ({"vocab_size": 4, "reset_after": False}, "reset_after needs cell='gru'"),
    ({"vocab_size": 4, "num_layers": 0}, "num_layers: expected an integer >= 1"),
    ({"vocab_size": 4, "dropout": 0.5}, "dropout acts between layers, and num_layers is 1"),
    ({"vocab_size": 4, "residual": True}, "residual acts between layers"),
    ({"vocab_size": 4, "bidirectional": 1}, "bidirectional: expected True or False, got 1"),
    ({"vocab_size": 4, "tie_weights": True}, "tie_weights needs embedding_size 3.*got embedding_size None"),
    ({"vocab_size": 4, "embedding_size": 3, "bidirectional": True, "tie_weights": True}, "needs embedding_size 6"),
    ({"vocab_size": 4, "embedding_size": 3, "output_size": 5, "tie_weights": True}, "and output_size 5"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RecurrentModel(3, **options)


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64")])
def test_the_dtype_may_be_that_of_numpy(dtype: Any) -> None:
    model = RecurrentModel(3, vocab_size=4, dtype=dtype)
    assert (model.dtype, model.parameters.flat.dtype) == ("float64", np.float64)


def test_tied_weights_are_one_array() -> None:
    model = RecurrentModel(3, vocab_size=4, embedding_size=3, tie_weights=True, dtype="float64")
    outputs, _ = model.predict(np.array([[1]]), model.zero_state(1))
    model.parameters["embedding.weight"][2] += 1.0
    moved, _ = model.predict(np.array([[1]]), model.zero_state(1))
    assert (moved != outputs).tolist() == [[[False, False, True, False]]]
