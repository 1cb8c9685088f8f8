"""The loss falls as correct gradients predict, and less than wrong ones do, whatever the batches are like."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rnncallbacks.detectors.gradient.decrease_record import DECREASE_RECORD, DecreaseRecord

SIZE, ROWS, ARRAYS = 12, 64, 3
COMPARED = DECREASE_RECORD.compared_updates


class Problem:
    """A linear regression on batches drawn anew, with parameters in ``arrays`` arrays: its loss and its gradients."""

    def __init__(self, seed, arrays=ARRAYS, noise=0.3):
        self.generator = np.random.default_rng(seed)
        self.noise = noise
        self.truth = {f"w{n}": self.generator.standard_normal(SIZE) for n in range(arrays)}
        self.params = {name: np.zeros(SIZE) for name in self.truth}

    def batch(self):
        inputs = {name: self.generator.standard_normal((ROWS, SIZE)) for name in self.truth}
        off = sum(x @ (self.params[name] - self.truth[name]) for name, x in inputs.items())
        off = off + self.noise * self.generator.standard_normal(ROWS)
        return float((off**2).mean()), {name: 2.0 * x.T @ off / ROWS for name, x in inputs.items()}


def descend(problem, wrong=lambda gradients: gradients, rate=0.004, batches=COMPARED[-1] + 1, adaptive=False):
    record, found = DecreaseRecord(), []
    for _ in range(batches):
        loss, gradients = problem.batch()
        gradients = wrong(gradients)
        found.append(record.add(loss, gradients, problem.params))
        for name, gradient in gradients.items():
            step = 5.0 * np.sign(gradient) if adaptive else gradient
            problem.params[name] -= rate * step
    found = [one for one in found if one is not None]
    assert len(found) <= 1
    return found[0] if found else None


@settings(max_examples=max(20, settings().max_examples // 2))  # each descends for hundreds of batches
@given(
    seed=st.integers(0, 10**6),
    rate=st.sampled_from([1e-4, 1e-3, 4e-3, 1e-2]),
    noise=st.sampled_from([0.0, 0.3, 3.0]),
    arrays=st.sampled_from([1, 3, 9]),
    adaptive=st.booleans(),
)
@example(seed=2467, rate=1e-3, noise=0.0, arrays=3, adaptive=True)  # noise of the batches alone
def test_the_loss_falls_as_correct_gradients_predict(seed, rate, noise, arrays, adaptive):
    assert descend(Problem(seed, arrays, noise), rate=rate, adaptive=adaptive) is None


def wrong_sign(name):
    return lambda gradients: gradients | {name: -gradients[name]}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("adaptive", [False, True])
def test_a_wrong_sign_is_found_and_no_other_array_is_named(seed, adaptive):
    found = descend(Problem(seed), wrong_sign("w1"), 0.002, adaptive=adaptive)
    assert found.ratio < 0.6
    assert found.array in ("", "w1")


@pytest.mark.parametrize(("seed", "rate"), [(1, 0.005), (2, 0.005), (3, 0.005)])
def test_an_array_that_can_be_told_apart_is_named(seed, rate):
    found = descend(Problem(seed), wrong_sign("w1"), rate)
    assert found.array == "w1"
    assert found.array_ratio == pytest.approx(-1.0, abs=0.25)
    assert not found.same_ratio


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_ratio_of_a_gradient_that_is_too_long_is_one_over_its_factor(seed, adaptive):
    def wrong(gradients):
        return {name: 20.0 * gradient for name, gradient in gradients.items()}

    found = descend(Problem(seed), wrong, 0.003 if adaptive else 2e-4, adaptive=adaptive)
    assert found.ratio == pytest.approx(1 / 20, rel=0.25)


@pytest.mark.parametrize("seed", range(5))
def test_a_gradient_in_another_direction_is_found(seed):
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))[0]

    def wrong(gradients):
        return {name: turn @ gradient for name, gradient in gradients.items()}

    found = descend(Problem(seed), wrong)
    assert found.ratio < 0.5


def test_of_many_arrays_those_with_the_largest_predicted_decrease_are_told_apart():
    found = descend(Problem(1, arrays=20), lambda gradients: gradients | {"w7": -2.0 * gradients["w7"]}, 0.002)
    assert found.ratio < 0.75
    assert found.array in ("", "w7")


def test_a_gradient_that_is_too_short_is_not_reported():
    def wrong(gradients):
        return {name: gradient / 20.0 for name, gradient in gradients.items()}

    assert descend(Problem(0), wrong, rate=0.08) is None


def test_neither_parameters_nor_gradients_are_changed():
    problem, record = Problem(0), DecreaseRecord()
    for _ in range(5):
        loss, gradients = problem.batch()
        before = [array.copy() for array in (*gradients.values(), *problem.params.values())]
        record.add(loss, gradients, problem.params)
        for array, kept in zip((*gradients.values(), *problem.params.values()), before, strict=True):
            np.testing.assert_array_equal(array, kept)
        for name, gradient in gradients.items():
            problem.params[name] -= 0.01 * gradient


def follow(losses, moves):
    params, record = {"w": np.zeros(2)}, DecreaseRecord()
    for loss, move in zip(losses, moves, strict=True):
        record.add(loss, {"w": np.ones(2)}, params)
        params["w"] += move
    return record


def test_updates_that_are_left_out_in_between_end_it():
    assert follow([1.0] * 6, [-0.1, -0.1, 0.0, -0.1, -0.1, -0.1]).over
    assert not follow([1.0] * 6, [-0.1] * 6).over


def test_a_warm_up_from_nothing_does_not():
    assert not follow([1.0] * 8, [0.0, 0.0, 0.0, -0.1, -0.1, -0.1, -0.1, -0.1]).over


@pytest.mark.parametrize("first", [0.0, -1.0])
def test_a_loss_that_does_not_begin_above_zero_has_no_scale(first):
    assert follow([first, 1.0, 1.0], [-0.1] * 3).over


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_numbers_of_a_run_that_diverges_end_it(bad):
    assert follow([1.0, 1.0, bad, 1.0], [-0.1] * 4).over
    assert follow([1.0, 1.0, 1.0, 1.0], [-0.1, bad, -0.1, -0.1]).over


def test_it_is_over_after_the_last_comparison_and_keeps_no_copies():
    record = follow([1.0] * (COMPARED[-1] + 2), [-0.0001] * (COMPARED[-1] + 2))
    assert record.over
    assert record._steps is None


def test_parameters_that_come_later_end_it():
    record = DecreaseRecord()
    record.add(1.0, {"w": np.ones(2)}, {"w": np.zeros(2)})
    record.add(1.0, {"w": np.ones(2), "v": np.ones(1)}, {"w": np.ones(2), "v": np.ones(1)})
    assert record.over


def test_parameters_that_never_move_are_given_up():
    record = follow([1.0] * 100, [0.0] * 100)
    assert record.over
    assert record._steps is None


@pytest.mark.parametrize("later", [np.zeros(2), np.zeros(3), np.zeros(2, dtype=np.float32)])
def test_parameters_of_another_kind_or_shape_raise_nothing(later):
    record = DecreaseRecord()
    for params in (np.zeros(2, dtype=int), np.zeros(2, dtype=int), later, later + 0.1):
        record.add(1.0, {"w": np.ones(len(params))}, {"w": params})
    assert record.over == (len(later) == 3)


def test_without_parameters_there_is_nothing_to_follow():
    record = DecreaseRecord()
    record.add(1.0, {"w": np.ones(2)}, {})
    assert record.over


@pytest.mark.parametrize(
    ("sign", "rate", "harder", "ascends"),
    [(-1.0, 0.15, 1.0, True), (1.0, 0.9, 1.0, False), (1.0, 0.01, 1.0, False), (1.0, 0.02, 1.6, False)],
    ids=["wrong sign", "rate too high", "usual", "harder batches"],
)
def test_gradients_of_the_wrong_sign_raise_the_loss_as_they_predict_its_fall(sign, rate, harder, ascends):
    problem, record, found = Problem(3), DecreaseRecord(), None
    for number in range(12):
        loss, gradients = problem.batch()
        scale = harder**number
        gradients = {name: sign * scale * gradient for name, gradient in gradients.items()}
        record.add(scale * loss, gradients, problem.params)
        found = found or record.ascends
        for name, array in problem.params.items():
            array -= rate / scale * gradients[name]
    assert (found is not None) is ascends
