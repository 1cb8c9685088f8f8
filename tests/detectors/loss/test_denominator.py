"""The denominator of a reported loss: every wrong count is named; means, averages and other units are not."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnncallbacks.detectors.loss.denominator import (
    DENOMINATOR,
    Denominator,
    batch_losses_may_be_sums,
    find_denominator,
    is_batch_mean,
    is_within_batch_losses,
    rounding_error,
)
from rnncallbacks.detectors.loss.phase_losses import PhaseLosses

BATCHES, SIZE, STEPS, VOCAB = 13, 32, 20, 36


def played(losses, sizes=SIZE, steps=STEPS, expected=None):
    """A pass over batches with these losses; sizes and steps are one number, one for each batch, or None."""
    seen = PhaseLosses(expected)
    for index, loss in enumerate(losses):
        size = sizes if sizes is None or np.isscalar(sizes) else int(sizes[index])
        step = steps if steps is None or np.isscalar(steps) else int(steps[index])
        seen.add(loss, sequences=size, steps=step, tokens=None if size is None or step is None else size * step)
    return seen


def drawn(seed=0, batches=BATCHES):
    return np.random.default_rng(seed).uniform(1.0, 2.0, batches).tolist()


# --- what is right ---------------------------------------------------------------------------------------------------

passes = st.tuples(st.integers(0, 10_000), st.integers(1, 30)).map(
    lambda drawn_from: (
        np.random.default_rng(drawn_from[0]).uniform([[0.01], [1], [1]], [[9.0], [64], [50]], (3, drawn_from[1])).T
    )
)


@given(passes)
def test_weighted_means_are_right(rows):
    losses, sizes, steps = rows[:, 0], rows[:, 1].astype(int), rows[:, 2].astype(int)
    seen = played(losses.tolist(), sizes, steps)
    for weights in (np.ones(len(losses)), sizes, sizes * steps):
        mean = float(np.average(losses, weights=weights))
        for reported in (mean, float(np.float32(mean))):
            assert is_batch_mean(reported, seen)
            assert find_denominator(reported, seen, vocab_size=VOCAB, other_phases={"val": played(drawn(1, 5))}) is None


@given(passes)
def test_moving_averages_medians_and_single_losses_are_no_wrong_means(rows):
    losses = rows[:, 0].tolist()
    seen = played(losses, rows[:, 1].astype(int), rows[:, 2].astype(int))
    smoothed = 0.9 * losses[0] + 0.1 * float(np.mean(losses[-3:])) * 0.97
    for reported in (smoothed, float(np.quantile(losses, 0.37)), losses[-1], float(np.median(losses))):
        found = find_denominator(reported, seen, vocab_size=VOCAB, other_phases={"val": played(drawn(1, 5))})
        assert found is None or not found.certain or len(losses) < 3


@pytest.mark.parametrize("unit", [math.exp, lambda mean: mean / math.log(2), lambda mean: mean / math.log(10)])
@pytest.mark.parametrize("decimals", [None, 3])
def test_perplexity_and_bits_are_other_units(unit, decimals):
    seen = played(drawn(), sizes=2, steps=3)
    reported = unit(seen.mean)
    assert find_denominator(reported if decimals is None else round(reported, decimals), seen) is None


def test_bits_that_come_close_to_another_count():
    # ln 2 times 88 batches is 60.997, and rounding hides the rest.
    other = {"val": played(drawn(1, 61))}
    seen = played([1.5] * 88)
    assert find_denominator(round(1.5 / math.log(2), 3), seen, other_phases=other) is None
    assert find_denominator(round(1.5 * 88 / 61, 4), seen, other_phases=other).kind == "other phase"


def test_a_value_on_another_scale_altogether_is_no_loss_mean():
    seen = played(drawn())
    for reported in (0.8125, 97.3, 0.0123456, seen.mean * 0.5, seen.mean * 2.0, seen.mean + 0.001):
        assert find_denominator(reported, seen, vocab_size=VOCAB) is None


def test_one_batch_and_one_sequence_leave_nothing_to_get_wrong():
    assert find_denominator(1.5, played([1.5], sizes=1, steps=1)) is None
    assert find_denominator(float(np.mean(drawn())), played(drawn(), sizes=1)) is None


@pytest.mark.parametrize(
    "losses", [[1.0, 0.0, 2.0], [1.0, -1.0, 2.0], [1.0, math.nan], [math.inf, 1.0], [1.0, None, 2.0]]
)
def test_losses_that_are_not_above_zero_are_not_judged(losses):
    seen = played(losses)
    assert not seen.is_comparable
    assert find_denominator(1.0 / SIZE, seen) is None


@pytest.mark.parametrize("reported", [0.0, -1.0, math.nan, math.inf])
def test_neither_are_such_reports(reported):
    assert find_denominator(reported, played(drawn())) is None


# --- what is wrong ---------------------------------------------------------------------------------------------------

WRONG = {
    "samples": BATCHES * SIZE,
    "tokens": BATCHES * SIZE * STEPS,
    "undivided": 1,
    "steps": BATCHES * STEPS,
    "vocabulary": BATCHES * VOCAB,
    "squared": BATCHES * BATCHES,
}
MULTIPLIED = {"sequences": SIZE, "steps": STEPS, "tokens": SIZE * STEPS, "vocabulary": VOCAB}


@given(st.integers(0, 10_000), st.sampled_from(sorted(WRONG)), st.sampled_from([float, np.float32, "rounded"]))
def test_every_wrong_count_is_named(seed, kind, precision):
    losses = drawn(seed)
    seen = played(losses)
    reported = sum(losses) / WRONG[kind]
    if precision == "rounded":
        reported = round(reported, 6)
        assume(rounding_error(reported) < DENOMINATOR.largest_rounding_error)  # enough digits are left to say anything
    else:
        reported = float(sum(precision(loss) for loss in losses) / precision(WRONG[kind]))
    found = find_denominator(reported, seen, vocab_size=VOCAB)
    assert (found.kind, found.value, found.certain) == (kind, WRONG[kind], True)
    assert found.factor == pytest.approx(WRONG[kind] / BATCHES)


@pytest.mark.parametrize("count", [SIZE, STEPS, SIZE * STEPS, VOCAB])
def test_a_length_in_place_of_the_number_of_batches(count):
    found = find_denominator(sum(drawn()) / count, played(drawn()), vocab_size=VOCAB)
    assert (found.kind, found.value, found.certain) == ("length alone", count, True)


@given(st.integers(0, 10_000), st.sampled_from(sorted(MULTIPLIED)))
def test_a_mean_times_a_count(seed, kind):
    seen = played(drawn(seed))
    found = find_denominator(seen.mean * MULTIPLIED[kind], seen, vocab_size=VOCAB)
    assert (found.kind, found.certain) == (kind, True)
    assert found.factor == pytest.approx(1 / MULTIPLIED[kind])


def test_the_samples_of_a_ragged_epoch():
    sizes = [SIZE] * (BATCHES - 1) + [5]
    losses = drawn()
    found = find_denominator(sum(losses) / sum(sizes), played(losses, sizes))
    assert (found.kind, found.value, found.name) == ("samples", sum(sizes), "samples per batch")


@pytest.mark.parametrize("left_out", [0, 7, 31])
def test_the_length_of_a_data_set_whose_last_samples_were_left_out(left_out):
    samples = BATCHES * SIZE + left_out
    found = find_denominator(sum(drawn()) / samples, played(drawn(), steps=None))
    assert (found.kind, found.value, found.certain) == ("samples", samples, True)


@given(st.integers(0, 10_000), st.sampled_from(["sequences", "steps"]), st.sampled_from([1, -1]))
def test_counts_that_differ_from_batch_to_batch(seed, name, power):
    losses, counts = drawn(seed), np.random.default_rng(seed).integers(2, 40, BATCHES)
    seen = played(losses, counts if name == "sequences" else 1, counts if name == "steps" else 1)
    found = find_denominator(float(np.mean(losses * np.power(counts, float(power)))), seen)
    assert found.kind == "each batch"
    assert (found.factor < 1) == (power == 1)


@pytest.mark.parametrize(("count", "name"), [(40, "the batches of train"), (600, "the samples of train")])
def test_the_counts_of_another_phase(count, name):
    train = played(drawn(1, 40), sizes=15)
    found = find_denominator(sum(drawn()) / count, played(drawn()), other_phases={"train": train})
    assert (found.kind, found.value, found.name, found.certain) == ("other phase", count, name, True)
    rounded = find_denominator(round(sum(drawn()) / count, 4), played(drawn()), other_phases={"train": train})
    assert rounded is None or not rounded.certain


@pytest.mark.parametrize(
    ("divisor", "kind", "name"),
    [
        (BATCHES + 1, "off by one", "one too many"),
        (BATCHES - 1, "off by one", "one too few"),
        (100, "whole number", "a whole number"),
    ],
)
def test_what_could_be_chance_wants_a_second_epoch(divisor, kind, name):
    found = find_denominator(sum(drawn()) / divisor, played(drawn(), sizes=None))
    assert (found.kind, found.name, found.certain) == (kind, name, False)
    again = find_denominator(sum(drawn(1)) / divisor, played(drawn(1), sizes=None))
    assert again.agrees(found)
    assert not again.agrees(None)
    assert not find_denominator(sum(drawn()) / 99, played(drawn(), sizes=None)).agrees(found)


def test_small_multiples_of_the_batches_may_be_the_factor_of_a_unit():
    for divisor in (2 * BATCHES, 3 * BATCHES):
        assert find_denominator(sum(drawn()) / divisor, played(drawn(), sizes=None, steps=None)) is None


def test_larger_multiples_are_samples_of_which_nobody_told():
    found = find_denominator(sum(drawn()) / (8 * BATCHES), played(drawn(), sizes=None, steps=None))
    assert (found.kind, found.factor, found.certain) == ("samples", 8.0, False)
    assert found.agrees(find_denominator(sum(drawn(1)) / (8 * BATCHES), played(drawn(1), sizes=None, steps=None)))
    assert not found.agrees(find_denominator(sum(drawn(1)) / (9 * BATCHES), played(drawn(1), sizes=None, steps=None)))
    wide = [0.1, 5.0, 9.0, 1.0]  # an eighth of the mean lies among such losses, as a median might
    assert find_denominator(sum(wide) / (8 * len(wide)), played(wide, sizes=None, steps=None)) is None


def test_an_epoch_cut_short_is_not_held_against_the_script():
    losses = drawn()
    for expected in (BATCHES * SIZE, 50):
        assert find_denominator(sum(losses) / expected, played(losses, expected=expected)) is None
    assert find_denominator(sum(losses) / 77, played(losses, sizes=None, expected=50)) is None
    found = find_denominator(sum(losses) / (50 * SIZE - 3), played(losses, expected=50))
    assert (found.kind, found.value) == ("samples", 50 * SIZE - 3)


# --- sums, roundings -------------------------------------------------------------------------------------------------


def test_a_first_loss_of_many_times_ln_v_is_a_sum():
    found = find_denominator(sum(drawn()) / (BATCHES * SIZE), played(drawn()))
    uninformed = math.log(VOCAB)
    for first in (0.5, 1.0, 1.5, 3.0):
        assert not batch_losses_may_be_sums(found, first * uninformed, uninformed)
    for first in (SIZE, SIZE * STEPS):
        assert batch_losses_may_be_sums(found, first * uninformed, uninformed)
    assert batch_losses_may_be_sums(found, 100.0, None)
    assert not batch_losses_may_be_sums(found, 3.0, None)
    assert not batch_losses_may_be_sums(find_denominator(sum(drawn()), played(drawn())), 1000.0, uninformed)
    two = Denominator("samples", 2.0 * BATCHES, 2.0, "the batch size")
    assert batch_losses_may_be_sums(two, 2.0, 1.0)
    assert not batch_losses_may_be_sums(two, 1.0, 1.0)


@given(st.floats(0.001, 100), st.integers(1, 5))
def test_rounding_bounds_the_error_that_it_made(value, decimals):
    rounded = round(value, decimals)
    if rounded:
        assert abs(value - rounded) <= rounding_error(rounded) * rounded * (1 + 1e-9)


def test_a_report_of_two_digits_proves_nothing():
    assert find_denominator(0.045, played([1.45] * BATCHES)) is None
    assert find_denominator(0.0453125, played([1.45] * BATCHES)).kind == "samples"


def test_within():
    seen = played([1.0, 3.0])
    assert is_within_batch_losses(2.9, seen)
    assert not is_within_batch_losses(3.1, seen)
