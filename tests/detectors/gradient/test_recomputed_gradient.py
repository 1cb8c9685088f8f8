import numpy as np
import pytest

from rnncallbacks.detectors.gradient.recomputed_gradient import find_backward_fault, wrong_arrays

RIGHT = {"Wx": np.array([[0.3, -0.2]]), "Wh": np.array([[0.5]]), "b": np.array([0.1])}


def reported(**changes):
    return {name: changes.get(name, array).copy() for name, array in RIGHT.items()}


def found(given, **of_faults):
    def gradients_with(fault):
        return of_faults.get(fault.replace(" ", "_"), RIGHT if not fault else reported(Wh=np.array([[9.0]])))

    return find_backward_fault(gradients_with, given)


def test_right_gradients_are_no_finding():
    assert found(RIGHT) is None


@pytest.mark.parametrize("fault", ["no recurrence", "untransposed", "wraps"])
def test_the_mistake_that_gives_the_reported_gradients_is_named(fault):
    given = reported(Wh=np.array([[0.2171]]), Wx=np.array([[0.1313, 0.1717]]))
    finding = found(given, **{fault.replace(" ", "_"): given})
    assert (finding.code, finding.evidence["backward_fault"], finding.severity) == ("RNN404", fault, None)
    assert finding.message.endswith("right: 'b'")


def test_an_array_of_the_wrong_sign_is_named():
    finding = found(reported(b=-RIGHT["b"]))
    assert finding.evidence["array"] == "b"
    assert "wrong sign" in finding.message


def test_an_array_that_is_too_large_is_named_with_its_factor():
    assert found(reported(Wx=2.0 * RIGHT["Wx"])).evidence["factor"] == pytest.approx(2.0)


def test_an_array_whose_norm_was_clipped_is_no_finding():
    assert found(reported(Wx=0.7 * RIGHT["Wx"])) is None


def test_zero_is_a_warning_as_an_array_may_be_frozen():
    finding = found(reported(Wh=np.zeros((1, 1))))
    assert (finding.severity, finding.evidence["array"]) == ("warning", "Wh")


def test_entries_that_were_clipped_are_left_out():
    computed = {"w": np.array([3.0, -0.5, 7.0, 9.0, 0.1])}
    assert wrong_arrays(computed, {"w": np.clip(computed["w"], -2.0, 2.0)}) == {}
    wrong = np.clip(computed["w"] - [0.0, 0.1, 0.0, 0.0, 0.0], -2.0, 2.0)
    assert set(wrong_arrays(computed, {"w": wrong})) == {"w"}


def test_what_is_not_finite_is_no_finding():
    assert find_backward_fault(lambda fault: {"w": np.array([np.nan])}, {"w": np.ones(1)}) is None
