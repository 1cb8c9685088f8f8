"""The sum of gradients with the numbers of each rank, on ranks that a stand-in for MPI adds up."""

import numpy as np
import pytest

from rnncallbacks.parallel.communicator import Communicator
from rnncallbacks.parallel.gradient_sum import GradientSum


class AddedUp(Communicator):
    """Adds the buffers of the rank that were summed before."""

    def __init__(self, rank: int, before: list[np.ndarray] | None = None) -> None:
        self.rank, self.ranks = rank, 2
        self.buffers: list[np.ndarray] = []
        self._before = before

    def sum(self, *arrays: np.ndarray) -> None:
        self.buffers = [array.copy() for array in arrays]
        for array, other in zip(arrays, self._before or [], strict=self._before is not None):
            array += other


NUMBERS = np.array([2.0**53 - 1, 16_777_217.0, 0.1, np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.0, 0.0])


def added_up(first: list[np.ndarray] | None, second: list[np.ndarray], factor: float) -> tuple[np.ndarray, GradientSum]:
    one = AddedUp(0)
    sums = GradientSum(one, len(NUMBERS))
    sums.take_layout(second)
    sums.exchange(first, 1.0, NUMBERS)
    other = GradientSum(AddedUp(1, one.buffers), len(NUMBERS))
    other.take_layout(second)
    return other.exchange(second, factor, NUMBERS[::-1].copy()), other


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_numbers_arrive_bit_for_bit_with_gradients_of_each_dtype(dtype: str) -> None:
    arrays = [np.full((2, 3), 1.5, dtype), np.asfortranarray(np.arange(6).reshape(2, 3), dtype=dtype)]
    before = [array.copy() for array in arrays]
    numbers, sums = added_up(arrays, arrays, 2.0)
    assert numbers[0].tobytes() == NUMBERS.tobytes()
    assert numbers[1].tobytes() == NUMBERS[::-1].tobytes()
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)  # until the numbers were read
    sums.write(arrays, 0.5)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, 1.5 * old)


def test_gradients_of_two_dtypes_are_added_up_in_two_buffers() -> None:
    arrays = [np.ones(3, np.float32), np.full(2, 1 / 3), np.ones((1, 1), np.float32)]
    _, sums = added_up(arrays, arrays, 1.0)
    sums.write(arrays, 1.0)
    assert [array.dtype for array in arrays] == ["float32", "float64", "float32"]
    assert [float(array.flat[0]) for array in arrays] == [2.0, 2 / 3, 2.0]


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_a_rank_without_gradients_brings_zeros(factor: float) -> None:
    arrays = [np.full(3, np.nan if factor == 0.0 else 2.0, np.float32)]
    numbers, sums = added_up(None, arrays, factor)
    assert numbers[0].tobytes() == NUMBERS.tobytes()
    sums.write(arrays, 1.0)
    assert arrays[0].tolist() == [2.0 * factor] * 3
