from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from types import FrameType

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from rnncallbacks.rnn.cells.cell import Cell
from rnncallbacks.rnn.cells.vanilla import VanillaCell
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.linalg.threads import MIN_MULTITHREADED_MULTIPLICATIONS, with_step_threads
from rnncallbacks.rnn.model import RecurrentModel


def blas_threads() -> list[int]:
    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    # Another package, such as SciPy, may have loaded a library of its own, which NumPy's products do not use.
    of_numpy = [library for library in found if "numpy.libs" in library["filepath"]] or found
    return [library["num_threads"] for library in of_numpy]


@pytest.fixture
def two_threads() -> Iterator[None]:
    with threadpool_limits(2, user_api="blas"):
        if max(blas_threads()) < 2:
            pytest.skip("the linear algebra library here has a single thread, so there is nothing to lower")
        yield


def threads_within(multiplications: int) -> list[int]:
    seen: list[int] = []
    with_step_threads(multiplications, lambda: seen.extend(blas_threads()))
    return seen


@pytest.mark.usefixtures("two_threads")
def test_small_products_are_computed_by_one_thread_and_then_all_is_as_it_was() -> None:
    before = blas_threads()
    assert set(threads_within(MIN_MULTITHREADED_MULTIPLICATIONS - 1)) == {1}
    assert blas_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_large_products_are_left_alone() -> None:
    before = blas_threads()
    assert threads_within(MIN_MULTITHREADED_MULTIPLICATIONS) == before
    assert blas_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_an_error_on_the_way_leaves_the_threads_as_they_were() -> None:
    before = blas_threads()
    with pytest.raises(ZeroDivisionError):
        with_step_threads(1, lambda: 1 // 0)
    assert blas_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_ctrl_c_leaves_the_threads_as_they_were_whenever_it_comes() -> None:
    before = blas_threads()
    moments = 0
    while interrupted_at(moments):
        assert blas_threads() == before
        moments += 1
    assert moments > 10


def interrupted_at(moment: int) -> bool:
    """Whether there are so many moments at which Python looks for Ctrl-C: as functions begin, and C's return."""
    left = moment

    def watch(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

    try:
        sys.setprofile(watch)
        with_step_threads(1, time.sleep, 0)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def test_a_single_thread_is_never_raised() -> None:
    with threadpool_limits(1, user_api="blas"):
        assert set(threads_within(MIN_MULTITHREADED_MULTIPLICATIONS)) | set(threads_within(1)) == {1}
        assert set(blas_threads()) == {1}


def test_the_users_environment_holds() -> None:
    script = (
        "from threadpoolctl import threadpool_info\n"
        "import rnncallbacks.rnn.linalg.threads as threads\n"
        "for size in (threads.MIN_MULTITHREADED_MULTIPLICATIONS, 1): threads.with_step_threads(size, str)\n"
        "print(sorted({one['num_threads'] for one in threadpool_info() if one['user_api'] == 'blas'}))\n"
    )
    environment = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "BLIS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[1]\n"


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (32, 2)])
def test_a_model_chooses_by_the_size_of_its_steps(
    batch_size: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways through time; the products over whole sequences keep the threads that there are."""
    seen: dict[str, set[int]] = {"forward": set(), "backward": set(), "write_gradients": set()}

    def watched(owner: type[Cell], name: str) -> None:
        original = getattr(owner, name)

        def watching(self: Cell, *arguments: object) -> object:
            seen[name].update(blas_threads())
            return original(self, *arguments)

        monkeypatch.setattr(owner, name, watching)

    for name in seen:
        watched(VanillaCell, name)
    model = RecurrentModel(400, vocab_size=3)
    tokens = np.zeros((3, batch_size), int)
    model.forward(SequenceBatch(tokens, tokens), model.zero_state(batch_size))
    model.backward()
    assert seen == {"forward": {threads}, "backward": {threads}, "write_gradients": {2}}
    assert max(blas_threads()) == 2
