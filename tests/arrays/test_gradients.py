"""Norm and clipping against NumPy in float64, and the view that plugins have of a script's gradients."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.arrays.gradients import Gradients, clip_by_array_norm, clip_by_global_norm, clip_by_value, global_norm
from rnncallbacks.errors import ContainerError, OptionError

CLIPPERS = [clip_by_global_norm, clip_by_array_norm, clip_by_value]


def in_double(arrays):
    return np.concatenate([np.zeros(0), *(array.astype(np.float64).ravel() for array in arrays)])


def reference_norm(arrays):
    """``math.hypot`` scales its arguments, so that it holds over the whole range of double precision."""
    return math.hypot(*in_double(arrays))


def float_arrays(dtype, largest):
    shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    entries = st.floats(-largest, largest, width=np.dtype(dtype).itemsize * 8)
    return st.lists(npst.arrays(dtype, shapes, elements=entries), max_size=4)


SINGLE = st.one_of(
    float_arrays(np.float32, float(np.finfo(np.float32).max)),
    float_arrays(np.float32, 2.0**-100),
    float_arrays(np.float16, 60000.0),
)
ARRAYS = SINGLE | float_arrays(np.float64, 1e300) | float_arrays(np.float64, 1e-200)


@given(SINGLE)
def test_the_global_norm_is_numpys_of_all_entries_in_double_precision(arrays):
    assert global_norm(arrays) == pytest.approx(np.linalg.norm(in_double(arrays)), rel=1e-5)


@given(ARRAYS)
def test_the_global_norm_holds_over_the_whole_range_of_each_precision(arrays):
    assert global_norm(arrays) == pytest.approx(reference_norm(arrays), rel=1e-5, abs=1e-300)


@pytest.mark.parametrize(
    ("dtype", "entry"), [(np.float32, 3e38), (np.float32, 1e-40), (np.float64, 1e300), (np.float64, 1e-300)]
)
def test_squares_that_overflow_or_vanish_do_not_spoil_the_norm(dtype, entry):
    arrays = [np.full((3, 1), entry, dtype), np.full(13, entry, dtype)]
    assert global_norm(arrays) == pytest.approx(4 * float(dtype(entry)), rel=1e-6)


def test_half_precision_keeps_the_digits_of_small_gradients():
    array = np.full(100, 1e-4, np.float16)
    assert global_norm([array]) == pytest.approx(10 * float(np.float16(1e-4)), rel=1e-5)


@pytest.mark.parametrize("arrays", [[], [np.zeros(0)], [np.zeros((2, 2))]], ids=["none", "empty", "zeros"])
def test_the_norm_of_nothing_is_zero(arrays):
    assert global_norm(arrays) == 0.0


def test_the_norm_is_nan_if_an_entry_is_and_infinite_if_one_is():
    assert global_norm([np.array([1.0, np.inf]), np.ones(1)]) == math.inf
    assert global_norm([np.array([1.0, -np.inf])]) == math.inf
    assert math.isnan(global_norm([np.array([np.inf]), np.array([1.0, np.nan])]))
    assert math.isnan(global_norm([np.array([np.nan]), np.array([np.inf])]))


def test_the_norm_takes_arrays_in_any_memory_layout():
    array = np.arange(24.0).reshape(2, 3, 4)
    assert global_norm([array.T, array[:, ::2], np.asfortranarray(array)]) == pytest.approx(
        reference_norm([array, array[:, ::2], array])
    )


@given(ARRAYS, st.floats(1e-3, 1e3))
def test_clipping_by_the_global_norm_bounds_it_and_keeps_the_direction(arrays, max_norm):
    originals = [array.astype(np.float64) for array in arrays]
    expected = reference_norm(originals)
    before, after = clip_by_global_norm(arrays, max_norm)
    assert before == pytest.approx(expected, rel=1e-5, abs=1e-300)
    factor = min(1.0, max_norm / before) if before else 1.0
    for array, original in zip(arrays, originals, strict=True):
        smallest = float(np.finfo(array.dtype).smallest_subnormal)
        np.testing.assert_allclose(
            array.astype(np.float64), original * factor, rtol=2e-3 if array.itemsize < 4 else 1e-6, atol=smallest
        )
    assert after <= max_norm or after == before <= max_norm
    assert after == pytest.approx(min(before, max_norm))


def test_clipping_keeps_the_direction_where_the_factor_itself_vanishes_in_single_precision():
    array = np.array([3e38, 3e38, 0.0], np.float32)
    clip_by_global_norm([array], max_norm=1e-8)
    np.testing.assert_allclose(array, [1e-8 / math.sqrt(2), 1e-8 / math.sqrt(2), 0.0], rtol=1e-6)
    assert array.dtype == np.float32


@pytest.mark.parametrize("clip", CLIPPERS)
def test_gradients_within_the_bound_are_left_bit_for_bit(clip):
    array = np.array([0.1, -0.2, 0.3], np.float32)
    original = array.copy()
    before, after = clip([array], 0.5)
    assert before == after
    np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize("clip", CLIPPERS)
def test_clipping_works_in_place_on_arrays_of_no_dimension_and_on_views(clip):
    scalar, table = np.array(-9.0), np.full((4, 4), 9.0)
    clip([scalar, table[::2, 1:3]], 1.0)
    assert -1.0 <= scalar < 0
    assert (table[1::2] == 9.0).all()
    assert (np.abs(table[::2, 1:3]) <= 1.0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_entry_is_left_for_the_alarms_and_not_smeared_by_the_global_norm(bad):
    sick, sound = np.array([bad, 2.0]), np.array([30.0, 40.0])
    before, after = clip_by_global_norm([sick, sound], 1.0)
    np.testing.assert_array_equal(sick, [bad, 2.0])
    np.testing.assert_array_equal(sound, [30.0, 40.0])
    assert not math.isfinite(before)
    np.testing.assert_equal(after, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_clipping_by_array_leaves_the_sick_array_and_clips_the_others(bad):
    sick, sound = np.array([bad, 2.0]), np.array([30.0, 40.0])
    before, _ = clip_by_array_norm([sick, sound], 1.0)
    np.testing.assert_array_equal(sick, [bad, 2.0])
    np.testing.assert_allclose(sound, [0.6, 0.8])
    assert not math.isfinite(before)


def test_clipping_by_array_reports_the_global_norm_before_and_after():
    arrays = [np.array([3.0, 4.0]), np.array([12.0]), np.array([0.5])]
    before, after = clip_by_array_norm(arrays, 2.0)
    assert before == pytest.approx(math.sqrt(25 + 144 + 0.25))
    assert after == pytest.approx(reference_norm(arrays))
    assert [np.linalg.norm(array) for array in arrays] == pytest.approx([2.0, 2.0, 0.5])
    assert clip_by_array_norm([], 2.0) == (0.0, 0.0)


@given(float_arrays(np.float32, 100.0), st.floats(0.125, 50, width=32))
def test_clipping_by_value_is_numpys_clip(arrays, bound):
    originals = [array.copy() for array in arrays]
    before, after = clip_by_value(arrays, bound)
    for array, original in zip(arrays, originals, strict=True):
        np.testing.assert_array_equal(array, np.clip(original, -bound, bound))
    assert before == pytest.approx(reference_norm(originals), rel=1e-5)
    assert after == pytest.approx(reference_norm(arrays), rel=1e-5)


def test_clipping_by_value_leaves_bad_entries_and_clips_the_rest():
    array = np.array([[np.nan, 7.0], [-np.inf, -7.0]], np.float32)
    clip_by_value([array], 1.5)
    np.testing.assert_array_equal(array, [[np.nan, 1.5], [-np.inf, -1.5]])


@pytest.mark.parametrize("clip", CLIPPERS)
@pytest.mark.parametrize("bound", [0, -1.0, math.nan])
def test_a_bound_that_is_not_above_zero_is_refused_before_anything_changes(clip, bound):
    array = np.array([3.0])
    with pytest.raises(OptionError, match=f"above 0, got {bound}"):
        clip([array], bound)
    assert array == 3.0


def test_gradients_are_the_scripts_own_arrays_by_path():
    w, b = np.ones((2, 2)), np.ones(2)
    gradients = Gradients({"cell": [w, None], "head": (b,)})
    assert list(gradients) == ["cell.0", "head.0"]
    assert len(gradients) == 2
    assert gradients["cell.0"] is w
    assert gradients.arrays[1] is b


def test_a_flat_buffer_is_worked_on_as_one_array_and_read_by_name():
    flat = FlatArrays({"w": (2, 2), "b": (2,)})
    gradients = Gradients(flat)
    assert gradients.arrays[0] is flat.flat
    assert len(gradients.arrays) == 1
    assert list(gradients) == ["w", "b"]
    assert gradients["b"] is flat["b"]


def test_an_array_under_two_names_is_scaled_once():
    tied = np.array([3.0, 4.0])
    gradients = Gradients({"embedding": tied, "head": tied})
    assert list(gradients) == ["embedding", "head"]
    assert clip_by_global_norm(gradients.arrays, 1.0) == (5.0, 1.0)
    np.testing.assert_allclose(tied, [0.6, 0.8])


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({}, "at least one array, got none"),
        (None, "at least one array, got none"),
        ({"w": np.zeros(2, np.int64)}, "'w' has dtype int64, expected a floating dtype"),
        ([np.zeros(2), np.zeros(2, complex)], "'1' has dtype complex128"),
        ({"w": np.array([np.zeros(1), np.zeros(2)], dtype=object)}, "'w' has dtype object"),
        ({"w": np.broadcast_to(np.zeros(1), (3,))}, "'w' cannot be written to"),
        ({"w": 1.5}, "gradients at 'w': expected a NumPy array.*got float"),
    ],
)
def test_gradients_that_cannot_be_worked_on_are_refused(container, message):
    with pytest.raises(ContainerError, match=message):
        Gradients(container)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"w": np.zeros((2, 3))}, "'b' is missing; the batches before had it"),
        (
            {"w": np.zeros((2, 3)), "b": np.zeros(2), "c": np.zeros(1)},
            "'c' was not in the batches before, which had 'w', 'b'",
        ),
        ({"w": np.zeros((2, 3)), "v": np.zeros(2)}, "'v' was not in the batches before"),
        ({"w": np.zeros((3, 2)), "b": np.zeros(2)}, r"'w' has shape \(3, 2\), in the batches before \(2, 3\)"),
        (FlatArrays({"w": (2, 3)}), "'b' is missing"),
    ],
)
def test_another_structure_than_before_is_refused_and_named(now, message):
    before = Gradients({"w": np.zeros((2, 3)), "b": np.zeros(2)})
    with pytest.raises(ContainerError, match=message):
        Gradients(now, before)


def test_the_same_structure_in_new_arrays_or_another_container_passes():
    before = Gradients([np.zeros((2, 3)), np.zeros(2)])
    Gradients((np.ones((2, 3)), np.ones(2)), before)
    flat = FlatArrays({"w": (2, 3)})
    Gradients(flat, Gradients(flat))


def test_a_bare_array_that_cannot_be_used_is_not_called_by_an_empty_name():
    with pytest.raises(ContainerError, match="gradients: the array cannot be written to"):
        Gradients(np.broadcast_to(np.zeros(1), (3,)))


def test_tied_arrays_that_are_views_of_each_other_count_once():
    weight = np.array([[3.0, 4.0], [0.0, 0.0]])
    gradients = Gradients({"embedding": weight, "head": weight.T, "same": weight[:]})
    assert clip_by_global_norm(gradients.arrays, 1.0) == (5.0, 1.0)
    np.testing.assert_allclose(weight, [[0.6, 0.8], [0.0, 0.0]])


def test_parts_of_one_buffer_count_each():
    buffer = np.array([3.0, 4.0])
    assert global_norm(Gradients([buffer[:1], buffer[1:]]).arrays) == 5.0


@pytest.mark.parametrize("container", [{"w": np.zeros(2)}, FlatArrays({"w": (2,)})], ids=["dict", "flat"])
def test_operators_change_a_gradient_in_place(container):
    gradients = Gradients(container)
    gradients["w"] += 3
    assert container["w"].tolist() == [3, 3]


def test_a_gradient_cannot_be_replaced():
    gradients = Gradients({"w": np.ones(2)})
    with pytest.raises(ContainerError, match=r"'w' cannot be replaced.*\n.*grads\['w'\]\[\.\.\.\] = value"):
        gradients["w"] = np.zeros(2)


def test_dicts_of_arrays_like_those_before_are_still_refused_if_they_cannot_be_used():
    def grads(**changed):
        return {"w": np.ones((2, 3)), "b": np.ones(2)} | changed

    before = Gradients(grads())
    frozen = np.ones(2)
    frozen.flags.writeable = False
    for wrong in (grads(b=frozen), grads(b=np.ones(2, dtype=int)), grads(b=np.ones(3)), grads(b=[1.0, 1.0]), {"w": 1}):
        with pytest.raises(ContainerError):
            Gradients(wrong, before)
    tied = np.ones((2, 3))
    square = Gradients({"w": tied, "v": np.ones((2, 3))})
    assert len(Gradients({"w": tied, "v": tied}, square).arrays) == 1
    assert len(Gradients({"w": tied, "v": tied.reshape(2, 3)}, square).arrays) == 1
    assert len(Gradients({"w": tied, "v": np.ones((2, 3))}, square).arrays) == 2


def test_keys_that_are_no_strings_have_the_same_names_in_each_batch():
    earlier = Gradients({0: np.ones(2), 1: np.ones(3)})
    assert list(Gradients({0: np.ones(2), 1: np.ones(3)}, earlier)) == list(earlier) == ["0", "1"]
