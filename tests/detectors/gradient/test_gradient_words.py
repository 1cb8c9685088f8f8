"""What is found wrong with gradients, in words that do the arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.gradient.accumulation import Accumulation
from rnncallbacks.detectors.gradient.gradient_check import Verdict
from rnncallbacks.detectors.gradient.gradient_words import (
    named_factor,
    words_of_factor,
    words_of_growth,
    words_of_promise,
    words_of_sum,
    words_of_wrong,
    words_of_zeros,
)
from rnncallbacks.detectors.gradient.predicted_decrease import Verdict as Fall

COUNTS = {"the number of time steps": 20.0, "the batch size": 16.0, "the positions of the batch": 320.0}


@given(st.sampled_from(list(COUNTS)), st.sampled_from([1, -1]), st.floats(-0.01, 0.01))
def test_a_ratio_near_a_count_or_one_over_it_has_its_name(name, power, error):
    assert named_factor(COUNTS[name] ** power * (1.0 + error), COUNTS) == (name, power)


@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5, 18.0, -20.0])
def test_other_ratios_have_none(ratio):
    assert named_factor(ratio, COUNTS) is None


def test_a_factor_is_told_with_its_count():
    words, numbers = words_of_factor(0.05, ("the number of time steps", -1), 20.0)
    assert "20 times that of the loss" in words
    assert words.endswith("20 is the number of time steps")
    assert numbers == {"factor": pytest.approx(20.0), "expected": 1.0, "count": "the number of time steps"}
    words, numbers = words_of_factor(16.0, ("the batch size", 1), 16.0)
    assert words.endswith("1 / 16, and 16 is the batch size")
    assert "three batches" in words_of_factor(0.5, None, 1.0)[0]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict(kind="wrong", cosine=0.71, array="Whh", array_ratio=0.4), "changes by 0.4 of what it says"),
        (Verdict(kind="zero", cosine=0.9, array="bh"), "the gradient of 'bh' is zero"),
        (Verdict(kind="part", cosine=0.95, array="Whh"), "truncated"),
        (Verdict(kind="scaled", ratio=-1.0), "wrong sign"),
        (Verdict(kind="wrong", cosine=0.2), "the gradient is not that of the loss"),
    ],
)
def test_each_way_of_being_wrong_has_its_words(verdict, words):
    message, numbers = words_of_wrong(verdict)
    assert words in message
    assert numbers["expected"] == 1.0
    assert numbers["cosine"] == (-1.0 if verdict.kind == "scaled" else verdict.cosine)


def fall(**changes):
    usual = {"outcome": "broken", "updates": 40, "promised": 0.6, "kept": 0.25, "array": "", "array_promised": 0.4}
    return Fall(**usual | {"array_kept": -0.5, "alike": False} | changes)


def test_broken_promises_do_the_arithmetic():
    words, numbers = words_of_promise(fall())
    assert "within 40 updates, the loss should have fallen by 0.6 of its first value" in words
    assert words.endswith("and fell by 0.25 of that (expected 1 or more)")
    assert numbers == {"updates": 40, "promised": 0.6, "expected": 1.0, "kept": 0.25}


def test_the_array_that_broke_them_is_named():
    words, numbers = words_of_promise(fall(array="Wxh", kept=float("nan")))
    assert words.endswith("the gradient of 'Wxh' promised 0.4 of it, and gave about -0.5 times that")
    assert (numbers["array"], numbers["ratio"]) == ("Wxh", -0.5)
    assert "kept" not in numbers


def test_a_factor_that_promises_show_is_told_with_its_count():
    words, numbers = words_of_promise(fall(kept=0.05), "the number of time steps", 20.0)
    assert words.endswith("20 is the number of time steps")
    assert numbers["factor"] == pytest.approx(20.0)


def test_gradients_that_are_zero_are_named():
    words, numbers = words_of_zeros(["Whh", "Wxh"], 10)
    assert "the gradient of 'Whh', 'Wxh' is zero, bit for bit" in words
    assert (numbers["array"], numbers["ratio"]) == ("Whh", 0.0)


def test_sums_are_told_by_ratio_by_growth_or_by_what_was_kept():
    assert "2.01 times what the loss does" in words_of_sum(2.01)[0]
    seen = Accumulation()
    seen.norms, seen.cosines = [1.0, 2.0, 3.5], [0.9, 0.95]
    words, numbers = words_of_growth(seen)
    assert "within 3 batches the gradient's norm grew 3.5 times" in words
    assert numbers["growth"] == 3.5
    seen.kept, seen.kept_share = 3, 0.25
    words, numbers = words_of_growth(seen)
    assert words.startswith("25% of the gradient's entries kept their value")
    assert numbers["kept_share"] == 0.25
