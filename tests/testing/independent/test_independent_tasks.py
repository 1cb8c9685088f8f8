"""The tasks are what they say, and can be learned."""

import numpy as np
import pytest

from rnncallbacks.testing.independent import INDEPENDENT_TASKS, IndependentScript


@pytest.mark.parametrize("task", INDEPENDENT_TASKS.values(), ids=lambda task: task.name)
def test_batches_have_the_announced_shapes(task):
    batches = task.batches(seed=2, count=4, size=3)
    assert len(batches) == 4
    for x, y in batches:
        assert x.shape[1] == 3
        if x.ndim == 3:
            assert x.shape[2] == task.inputs
        else:
            assert x.min() >= 0
            assert x.max() < task.inputs
        assert y.shape[: 2 if task.where == "each step" else 1] == (x.shape[:2] if task.where == "each step" else (3,))
        if task.kind == "classes":
            assert y.min() >= 0
            assert y.max() < task.outputs
        else:
            assert y.shape[-1] == task.outputs


@pytest.mark.parametrize("task", INDEPENDENT_TASKS.values(), ids=lambda task: task.name)
def test_seeds_decide_the_batches(task):
    first, again, other = (task.batches(seed, 2, 2) for seed in (1, 1, 2))
    assert all(
        np.array_equal(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert not all(np.array_equal(one[0], two[0]) for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize("task", INDEPENDENT_TASKS.values(), ids=lambda task: task.name)
def test_no_constant_prediction_is_better_than_the_uninformed_loss(task):
    targets = np.concatenate([y.reshape(-1) for _, y in task.batches(seed=3, count=200, size=8)])
    if task.kind == "real":
        assert targets.var() == pytest.approx(task.uninformed, rel=0.1)
    else:
        shares = np.bincount(targets, minlength=task.outputs) / len(targets)
        assert -np.sum(shares * np.log(shares, where=shares > 0, out=np.zeros_like(shares))) <= task.uninformed + 1e-9


@pytest.mark.parametrize("task", [task for task in INDEPENDENT_TASKS.values() if task.next_token], ids=lambda t: t.name)
def test_the_next_token_is_the_target(task):
    assert all(np.array_equal(x[1:], y[:-1]) for x, y in task.batches(seed=1, count=3, size=2))


@pytest.mark.parametrize("name", ["lagged", "latch", "prose"])
def test_a_stream_goes_on_from_chunk_to_chunk(name):
    task = INDEPENDENT_TASKS[name]
    assert task.stream
    batches = task.batches(seed=1, count=6, size=4)
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if name == "lagged":
        assert np.array_equal(x[:-3], y[3:])
    elif name == "prose":
        assert np.array_equal(x[1:], y[:-1])
    else:
        assert np.array_equal(y[1:], np.where(x[1:] > 0, x[1:] - 1, y[:-1]))


def test_half_of_the_tasks_are_for_setting_thresholds():
    assert sum(task.for_tuning for task in INDEPENDENT_TASKS.values()) == len(INDEPENDENT_TASKS) / 2


@pytest.mark.parametrize("task", INDEPENDENT_TASKS)
def test_each_task_is_learned(task):
    script = IndependentScript("rows", task, "tanh", "adam", seed=0, level="bare")
    script.train({}, max_epochs=16 if task == "adding" else 5)  # which takes its time
    assert script.clean_loss() < 0.8 * script.task.uninformed
