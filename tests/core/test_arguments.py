import math

import numpy as np
import pytest

from rnncallbacks.core.arguments import as_count, as_loss, check_floating, describe, log_unmatched_names
from rnncallbacks.errors import ContainerError, LossError, OptionError


@pytest.mark.parametrize("loss", [1.5, np.float32(1.5), np.float64(1.5), np.array(1.5), np.array(1.5, dtype="float16")])
def test_one_number_is_a_loss(loss: object) -> None:
    taken = as_loss(loss, "run.record")
    assert taken == 1.5
    assert type(taken) is float


def test_whole_numbers_and_values_that_are_not_finite_are_losses_too() -> None:
    assert as_loss(2, "run.record") == 2.0
    assert math.isnan(as_loss(math.nan, "run.record"))
    assert as_loss(np.float32(np.inf), "run.record") == math.inf


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        (np.zeros((1, 1)), "an array of shape (1, 1)"),
        (np.zeros(3), "an array of shape (3,)"),
        (None, "None"),
        (True, "bool True"),
        (np.bool_(True), "True"),
        (1j, "complex 1j"),
        ("1.5", "str '1.5'"),
        ([1.5], "list [1.5]"),
    ],
)
def test_anything_else_is_refused_by_name(loss: object, named: str) -> None:
    with pytest.raises(LossError) as caught:
        as_loss(loss, "run.backward")
    assert caught.value.message.startswith("run.backward: expected the batch's loss as one number, got ")
    assert named in caught.value.message
    assert "losses.mean()" in caught.value.hint
    assert ("write loss.item()" in caught.value.hint) == (named == "an array of shape (1, 1)")


def test_counts_are_whole_and_at_least_one() -> None:
    assert as_count(3, "run.record", "tokens") == 3
    taken = as_count(np.int64(3), "run.record", "tokens")
    assert taken == 3
    assert type(taken) is int


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None])
def test_no_other_count_passes(value: object) -> None:
    with pytest.raises(OptionError, match=r"run\.record: expected tokens to be an integer >= 1, got "):
        as_count(value, "run.record", "tokens")


def test_a_long_value_is_described_in_few_words() -> None:
    assert len(describe(list(range(10_000)))) < 60


def test_a_parameter_of_integers_with_a_gradient_is_refused_by_name() -> None:
    params, gradients = {"w": np.array([[1, 2]]), "seen": np.array([0])}, {"w": np.zeros((1, 2))}
    with pytest.raises(ContainerError, match="'w' has dtype int"):
        check_floating(params, gradients)
    check_floating({"w": params["w"].astype(np.float32), "seen": params["seen"]}, gradients)


@pytest.mark.parametrize(
    ("loss", "named"),
    [(np.ma.masked, "a masked array"), (np.ma.masked_array([1.0]), "a masked array"), (10**400, "below 1.8e308, got")],
)
def test_a_loss_that_is_masked_or_beyond_all_floats_is_refused(loss: object, named: str) -> None:
    with pytest.raises(LossError, match=named):
        as_loss(loss, "run.backward")


@pytest.mark.parametrize(
    ("gradients", "told"),
    [
        ({"dW": (2, 3), "db": (3,)}, []),
        ({"0": (2, 3), "1": (3,)}, []),
        ({"v": (2, 3), "b": (3,)}, ["'v': it is compared with 'W', the only one of its shape (2, 3)"]),
        ({"Wxx": (2, 3), "x9": (7,)}, ["'x9': no check uses it"]),
        ({"WW": (2, 3), "rate": (9,)}, ["'rate': no check uses it"]),
    ],
)
def test_gradients_of_other_names_are_told(
    gradients: dict[str, tuple[int, ...]], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    params = {"W": np.zeros((2, 3)), "b": np.zeros(3)}
    log_unmatched_names(params, {name: np.zeros(shape) for name, shape in gradients.items()})
    assert [message.partition("gradient ")[2].partition(";")[0] for message in caplog.messages] == told
