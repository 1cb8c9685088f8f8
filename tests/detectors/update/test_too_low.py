"""A learning rate that is too low: what the whole run would reach, and when that is not its fault."""

import pytest

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.detectors.update.too_low import check_too_low
from rnncallbacks.detectors.update.update_record import UpdateRecord


def record(*, decrease=1e-6, gradient=5.0, ratio=2e-5, loss=2.0, constant_loss=2.0, batches=60, measured=30):
    kept = UpdateRecord()
    kept.batches, kept.losses, kept.constant_loss = batches, [loss] * batches, constant_loss
    kept.predicted_decreases, kept.relative_gradients = [decrease] * measured, [gradient] * measured
    kept.unscheduled_ratios = [ratio] * measured
    return kept


def test_a_run_that_would_get_nowhere_is_reported_with_the_factor():
    result = check_too_low(record(), planned_updates=1000)
    finding = result.finding
    assert (finding.code, list(result.checked)) == ("RNN502", ["RNN502"])
    assert len(finding.message.partition(":")[0]) <= 80
    evidence = {"predicted_decrease": 1e-6, "update_ratio": 2e-5, "updates_for_5_percent": 50000}
    assert dict(finding.evidence) == pytest.approx(evidence, rel=1e-4)
    assert finding.remedy.startswith("multiply the learning rate by about 50, until")


@pytest.mark.parametrize(
    "healthy",
    [
        {"decrease": 1e-3, "ratio": 4e-3},
        {"ratio": 4e-3},
        {"loss": 0.3},
    ],
    ids=" ".join,
)
def test_each_condition_must_hold(healthy):
    result = check_too_low(record(**healthy), planned_updates=1000)
    assert (result.finding, list(result.checked)) == (None, ["RNN502"])
    assert result.checked["RNN502"].startswith("30 updates changed the weights by ")


def test_a_network_whose_loss_has_fallen_before_has_learned_if_the_targets_are_not_shown():
    kept = record(ratio=1e-9, constant_loss=0.0, loss=0.1)
    assert check_too_low(kept, planned_updates=1000).finding is not None
    kept.reference_loss = 2.0  # of the first batch, before RNN501 and a recovery
    result = check_too_low(kept, planned_updates=1000)
    assert (result.finding, list(result.checked)) == (None, ["RNN502"])


@pytest.mark.parametrize("unclear", [{"decrease": -1e-6}, {"gradient": 0.01}, {"loss": 1.0}], ids=" ".join)
def test_tiny_updates_that_lower_no_loss_do_not_pass(unclear):
    result = check_too_low(record(**unclear), planned_updates=1000)
    assert (result.finding, dict(result.checked), list(result.cannot_tell)) == (None, {}, ["RNN502"])


@pytest.mark.parametrize(("last_loss", "passes"), [(2.0, False), (1.7, False), (1.3, True)])
def test_a_predicted_decrease_of_small_updates_passes_only_where_the_loss_falls(last_loss, passes):
    kept = record(decrease=1e-3, ratio=2e-4)
    kept.losses[-30:] = [last_loss] * 30
    result = check_too_low(kept, planned_updates=1000)
    assert (result.finding, "RNN502" in result.checked, "RNN502" in result.cannot_tell) == (None, passes, not passes)


@pytest.mark.parametrize(
    ("next_decreases", "fires"),
    [([], False), ([1e-6] * 20, True), ([1e-3, -1e-3] * 10, False)],
    ids=["unknown", "small", "noise"],
)
def test_the_noise_of_single_batches_is_no_progress(next_decreases, fires):
    kept = record(decrease=1e-3)
    kept.next_decreases = next_decreases
    result = check_too_low(kept, planned_updates=1000)
    assert (result.finding is not None, list(result.cannot_tell)) == (fires, [] if fires else ["RNN502"])
    assert fires is bool(result.checked)


@pytest.mark.parametrize(("planned", "fires"), [(500, True), (2000, False)])
def test_negligible_updates_that_agree_are_too_small_unless_they_bring_the_loss_down(planned, fires):
    kept = record(decrease=1e-3, ratio=8e-5)
    kept.next_decreases = [1e-3, 1.1e-3] * 10
    finding = check_too_low(kept, planned).finding
    assert (finding is not None) is fires
    if fires:
        assert finding.message.endswith("and 500 by 52% at most")


def test_updates_that_still_grow_are_those_of_a_warm_up():
    kept = record()
    kept.unscheduled_ratios = [1e-7 * number for number in range(1, 31)]
    result = check_too_low(kept, planned_updates=1000)
    assert (result.finding, "as in a warm-up" in result.cannot_tell["RNN502"]) == (None, True)


def test_updates_too_small_for_any_task_need_no_targets():
    assert check_too_low(record(constant_loss=0.0, ratio=2e-6), planned_updates=1000).finding.code == "RNN502"


def test_small_updates_are_not_judged_without_the_targets():
    result = check_too_low(record(constant_loss=0.0), planned_updates=1000)
    assert (result.finding, result.checked, list(result.not_checked)) == (None, {}, ["RNN502"])


def test_small_updates_of_a_network_with_its_initial_biases_need_no_targets():
    untrained = record(constant_loss=0.0)
    untrained.has_initial_biases = True
    assert check_too_low(untrained, planned_updates=1000).finding.code == "RNN502"


@pytest.mark.parametrize(("ratio", "found"), [(2e-5, True), (2e-4, False)])
def test_negligible_updates_of_initial_biases_are_judged_below_the_loss_of_a_constant_too(ratio, found):
    below = record(constant_loss=4.0, ratio=ratio)
    below.has_initial_biases = True
    assert bool(check_too_low(below, planned_updates=1000).finding) is found


def test_a_short_run_is_judged_as_one_of_500_updates_and_a_long_one_as_one_of_2000():
    slow, slower = record(decrease=1.1e-4), record(decrease=4e-5)
    assert [bool(check_too_low(slow, count).finding) for count in (10, 500, 1000)] == [True, True, False]
    assert [bool(check_too_low(slower, count).finding) for count in (2000, 10**6)] == [True, True]


@pytest.mark.parametrize("early", [{"batches": 59}, {"batches": 80}])
def test_it_is_judged_once(early):
    assert check_too_low(record(**early), planned_updates=1000) == CheckResult()


def test_too_few_measured_updates_do_not_decide():
    result = check_too_low(record(measured=19), planned_updates=1000)
    assert result == CheckResult(
        cannot_tell={"RNN502": "19 updates with nonzero gradients were measured, and 20 are needed"}
    )


def test_updates_of_a_usual_size_on_a_plateau_do_not_decide():
    result = check_too_low(record(ratio=8e-4), planned_updates=1000)
    assert (result.finding, dict(result.checked)) == (None, {})
    assert result.cannot_tell["RNN502"].endswith("they are of a usual size, as on a plateau")
    assert check_too_low(record(ratio=4e-4), planned_updates=1000).finding is not None
