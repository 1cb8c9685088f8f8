"""Parameters that no update changes: what confirms it, and what shows that the script trains other arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.update.frozen_parameters import FROZEN_PARAMETERS, FrozenParameters, losses_of_same_network
from rnncallbacks.detectors.update.update_closure import UpdateClosure


@given(st.integers(0, 2**16), st.integers(12, 40))
def test_a_network_that_rests_gives_the_losses_of_same_network_in_any_order(seed, count):
    generator = np.random.default_rng(seed)
    losses = generator.uniform(1.0, 3.0, count)
    assert losses_of_same_network(losses.tolist(), generator.permutation(losses).tolist()) is True
    assert losses_of_same_network(losses.tolist(), (0.2 * generator.permutation(losses)).tolist()) is False


def test_two_rounds_that_differ_by_chance_do_not_tell():
    generator = np.random.default_rng(0)
    earlier, later = generator.normal(2.0, 0.3, 20), generator.normal(2.0, 0.3, 20)
    assert losses_of_same_network(earlier.tolist(), later.tolist()) is None


# --- the detector ------------------------------------------------------------------------------------------------

WEIGHTS = {"w": np.array([2.0])}


def check(losses, *, closure=None, agreement="unknown", updates=3):
    """What the detector concludes after each of these losses of batches without a change of the parameters."""
    detector, results = FrozenParameters(), []
    calls = UpdateClosure()
    calls.agreement = agreement
    for number, loss in enumerate(losses):
        if number < updates:
            detector.add_update(0.0)
        batch = Batch(data=None, phase="train", index=number + 1, loss=loss, closure=closure)
        results.append(detector.check(batch, calls, WEIGHTS))
    return detector, calls, results


def test_a_closure_that_gives_the_same_loss_confirms_it_after_many_batches():
    enough = FROZEN_PARAMETERS.unchanged_batches
    detector, _, results = check([2.0] * (enough + 1), closure=lambda: float(WEIGHTS["w"][0]), agreement="exact")
    assert results[: enough - 1] == [CheckResult()] * (enough - 1)
    assert (results[enough - 1].finding.code, results[enough - 1].finding.evidence["updates"]) == ("RNN503", 3)
    assert results[enough] == CheckResult()
    assert detector.settled
    assert WEIGHTS["w"] == 2.0


def test_a_shorter_run_is_judged_at_its_end():
    detector, _, results = check([2.0] * 10, closure=lambda: float(WEIGHTS["w"][0]), agreement="exact")
    assert results == [CheckResult()] * 10
    assert detector.end_run().finding.code == "RNN503"
    detector, _, _ = check([2.0] * 10)
    assert list(detector.end_run().cannot_tell) == ["RNN503"]


@pytest.mark.parametrize("micro_batches", [2, 4, 16, 60])
def test_one_update_for_several_batches_is_recognized(micro_batches):
    detector, _, results = check([2.0] * (micro_batches - 1), closure=lambda: float(WEIGHTS["w"][0]), agreement="exact")
    assert results == [CheckResult()] * (micro_batches - 1)
    detector.add_update(0.1)
    assert f"one update is made in about {micro_batches} batches" in detector.comparison
    assert detector.end_run() == CheckResult()


def test_an_update_between_two_batches_is_seen():
    detector, _, _ = check([2.0] * 5)
    detector.add_parameters({"w": np.array([2.0])})
    assert detector.suspected
    detector.add_parameters({"w": np.array([1.9])})
    assert (detector.changed, detector.suspected) == (True, False)


def test_a_closure_that_gives_another_loss_shows_that_other_arrays_are_trained():
    _, _, results = check([2.0] * 3, closure=lambda: 1.5, agreement="exact")
    assert results[2].finding is None
    assert "assign run.params = params" in results[2].not_checked["RNN503"]


def test_a_closure_that_does_not_read_the_parameters_proves_nothing():
    detector, calls, results = check([2.0] * 3, closure=lambda: 2.0, agreement="exact")
    assert results == [CheckResult()] * 3
    assert (calls.agreement, detector.settled) == ("useless", False)


def test_two_epochs_with_the_same_losses_confirm_it_without_a_closure():
    detector, _, _ = check([1.0, 2.0, 3.0, 4.0])
    assert detector.end_epoch() == CheckResult()
    detector.pass_losses = [4.0, 3.0, 2.0, 1.0]
    assert detector.end_epoch().finding.code == "RNN503"


def test_an_epoch_without_end_is_compared_with_itself():
    half = FROZEN_PARAMETERS.longest_pass // 2
    _, _, results = check([2.0] * half + [2.0] * half)
    assert [bool(result.finding) for result in results] == [False] * (2 * half - 1) + [True]
    _, _, results = check([2.0] * half + [0.5] * half)
    assert "assign run.params = params" in results[-1].not_checked["RNN503"]


def test_losses_that_never_differ_clearly_are_those_of_one_network():
    generator = np.random.default_rng(0)
    detector, _, _ = check(generator.normal(2.0, 0.3, 20).tolist())
    found = [detector.end_epoch().finding]
    for _ in range(FROZEN_PARAMETERS.inconclusive_passes):
        detector.pass_losses = generator.normal(2.0, 0.3, 20).tolist()
        found.append(detector.end_epoch().finding)
    assert [bool(finding) for finding in found] == [False, False, False, True]


@pytest.mark.parametrize("ratio", [1e-9, np.nan])
def test_any_change_ends_the_suspicion(ratio):
    detector, _, _ = check([2.0] * 3)
    assert detector.suspected
    detector.add_update(ratio)
    assert not detector.suspected
    assert detector.end_epoch() == CheckResult()


@pytest.mark.parametrize(("changes_again", "found"), [(None, [95]), (60, []), (93, [])])
def test_parameters_that_stop_changing_are_told_after_many_batches(changes_again, found):
    frozen, params, findings = FrozenParameters(), {"w": np.zeros(3)}, []
    for batch in range(120):
        if batch < 30 or batch == changes_again:
            params["w"] += 1.0
        if batch % 5 == 0 or batch == changes_again:
            ratio = 0.1 if batch < 30 else 0.0
            frozen.add_update(ratio)
            if frozen.check_stopped(ratio, params, batch) is not None:
                findings.append(batch)
    assert findings == found
