import attrs
import pytest
from speed import turns
from speed.epochs import FRAMEWORKS, Epoch, measure_epochs, stacked
from speed.goals import MEMORY
from speed.scaling import exponent, kept_bytes, measure_memory, measure_scaling
from speed.task import GATES, Task


def test_an_epoch_of_ours_is_timed_with_and_without_guards():
    epoch = Epoch(seq_len=10, batch_size=4, hidden_size=6, characters=2000)
    found = measure_epochs(epoch, ["ours", "ours, guarded"], count=1, rounds=2)
    assert {name: len(times) for name, times in found["seconds"].items()} == {"ours": 2, "ours, guarded": 2}
    assert found["batches"] == [44, 4]  # of 1799 and 199 pairs of characters, in batches of 40
    assert found["losses"]["ours"] < 4.5


def test_a_compiled_epoch_comes_to_the_same_loss():
    pytest.importorskip("numba", reason="numba is not installed; the extra 'fast' has it")
    epoch = Epoch(seq_len=10, batch_size=4, hidden_size=6, characters=2000)
    found = measure_epochs(epoch, ["ours", "ours, compiled"], count=1, rounds=2)
    assert len(found["seconds"]["ours, compiled"]) == 2
    assert found["losses"]["ours, compiled"] == pytest.approx(found["losses"]["ours"], rel=1e-4)


def test_a_compiled_epoch_is_left_out_without_numba(monkeypatch):
    monkeypatch.setattr(turns, "find_spec", lambda package: None if package == "numba" else object())
    assert turns.missing(FRAMEWORKS) == ["ours, compiled"]


def test_all_batches_of_an_epoch_have_one_shape():
    task, train, held_out = Epoch(seq_len=10, batch_size=4, hidden_size=6, characters=2000).loaders()
    inputs, targets = stacked(train)
    assert inputs.shape == targets.shape == (44, 10, 4)
    assert (inputs[0, 1:] == targets[0, :-1]).all()
    assert (inputs[1, 0] == targets[0, -1]).all()
    assert (task.seq_len, task.batch_size, task.hidden_size) == (10, 4, 6)
    assert stacked(held_out)[0].max() < task.vocab_size


def test_proportional_time_has_the_exponent_1():
    assert exponent({1: 0.5, 2: 1.0, 4: 2.0, 8: 4.0}) == pytest.approx(1.0)
    assert exponent({1: 1.0, 2: 4.0, 4: 16.0, 8: 64.0}) == pytest.approx(2.0)


def test_time_is_measured_at_each_factor():
    found = measure_scaling(Task("vanilla", 2, 3, 5, 4), "seq_len", rounds=2, seconds=0.001)
    assert list(found) == [1, 2, 4, 8]
    assert all(len(times) == 2 for times in found.values())


@pytest.mark.parametrize(("cell", "arrays"), [("vanilla", 1), ("lstm", 6), ("gru", 5)])
def test_a_step_holds_what_it_must_keep_and_grows_with_the_sequence(cell, arrays):
    task = Task(cell, 20, 8, 30, 40)
    kept = 4 * 20 * 8 * (arrays * 40 + 30)
    assert kept_bytes(task) == kept
    peak = measure_memory(task)
    assert peak > kept
    assert measure_memory(attrs.evolve(task, seq_len=80)) > peak + 2.9 * kept


@pytest.mark.parametrize("hidden_size", [128, 256])
@pytest.mark.parametrize("cell", GATES)
def test_a_large_step_holds_at_most_1_5_times_what_it_must_keep(cell, hidden_size):
    task = Task(cell, 64, 32, 103, hidden_size)
    assert measure_memory(task) <= MEMORY * kept_bytes(task)
