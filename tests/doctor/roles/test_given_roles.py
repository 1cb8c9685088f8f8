from pathlib import Path

import pytest

from rnncallbacks import load_plugins
from rnncallbacks.doctor.named_loop import named_loop
from rnncallbacks.doctor.roles.given_roles import GivenRoles
from rnncallbacks.doctor.script_examination import ExaminationOptions, examine_script
from rnncallbacks.errors import DataError

pytestmark = pytest.mark.usefixtures("forked_modules")

FLAT = Path(__file__).parents[1] / "scripts" / "flat_characters.py"
FIT = Path(__file__).parents[1] / "scripts" / "class_with_fit.py"


def roles_of(path, **options):
    plugins = load_plugins({"preset": "guards"})
    return examine_script(path, [], plugins, ExaminationOptions(roles_only=True, **options)).roles


def test_the_loss_can_be_named():
    roles = roles_of(FLAT, given=GivenRoles(loss="smooth_loss"))
    assert (roles.loss[2], roles.loss_confidence) == ("smooth_loss", "likely")


def test_the_loop_and_the_parameters_can_be_named():
    line = 1 + FLAT.read_text().splitlines().index("while True:")
    roles = roles_of(FLAT, loop=f"{FLAT.name}:{line}", given=GivenRoles(params=("Wxh", "Whh"), state=("hs",)))
    assert [one.name for one in roles.parameters] == ["Wxh", "Whh"]
    assert roles.hidden == ("local", "lossFun", "hs")


def test_a_line_without_a_loop_is_refused_and_the_loops_are_listed():
    with pytest.raises(DataError, match="expected the line of a for or while loop, got") as caught:
        named_loop(FLAT, "1")
    assert "the nearest are 23 (for t in range(len(inputs))" in str(caught.value)


@pytest.mark.parametrize(("path", "count"), [(FLAT, 5), (FIT, 4)])
def test_without_replays_roles_are_found_by_names_and_changes(path, count):
    roles = roles_of(path, replay=False)
    assert (roles.loss[2], roles.loss_confidence, roles.exact) == ("loss", "likely", False)
    assert len(roles.parameters) == len(roles.with_gradient) == count


def test_without_replays_nothing_is_an_error_and_no_closure_is_used():
    findings = examine_script(FLAT, [], load_plugins({"preset": "guards"}), ExaminationOptions(replay=False))
    assert "computed from the script's own arrays" in findings.diagnosis.passed["RNN404"]  # by the recognized network
    assert not [alarm for alarm in findings.diagnosis.alarms if alarm.severity == "error"]
