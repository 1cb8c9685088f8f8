"""The advice of guards in the words of a script without a ``Run``, and of one with a ``Trainer``."""

import ast
import functools
import re
from pathlib import Path

import pytest

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.doctor.lacking_evidence import for_trainer, for_unchanged_script
from rnncallbacks.doctor.roles.role_table import Roles

SOURCES = Path(__file__).parents[2] / "src" / "rnncallbacks"
CALL_OF_A_RUN = re.compile(r"\brun\.\w+|\bRun\(|closure|\bgive batches\b")
NOT_IN_UNCHANGED_SCRIPTS = {
    # The doctor calls run.backward in each batch before the update, and run.hidden in none.
    ("protocol.py", "run.backward"),
    ("state_shape.py", "run.hidden"),
    # Its run has one training pass in each epoch.
    ("training_passes.py", "run.batches"),
    # The parameters of its run are copies, which it overwrites.
    ("exploding.py", "run.params"),
    ("frozen_parameters.py", "run.params"),
}
UNKNOWN = Roles(loss=None, loss_confidence="unsure")
KNOWN = Roles(
    loss=None,
    loss_confidence="unsure",
    inputs=("end", "__main__", "xs"),
    targets=("end", "__main__", "ys"),
    hidden=("local", "forward", "hs"),
)

pytestmark = pytest.mark.usefixtures("forked_modules")


@functools.cache
def texts():
    """The texts of detectors and guards that name a call of a run, and their files."""
    found = []
    folders = (SOURCES / "detectors", SOURCES / "plugins" / "guards")
    for path in sorted(one for folder in folders for one in folder.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        documentation = {
            id(node.value) for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        left_out = documentation | inside
        for node in nodes:
            if id(node) in left_out:
                continue
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            if CALL_OF_A_RUN.search(text):
                found.append((path.name, text))
    return found


def rewritten(text, roles=UNKNOWN, stopped_by="batches"):
    diagnosis = Diagnosis()
    diagnosis.cannot_check("RNN404", text)
    for_unchanged_script(diagnosis, roles, 80, stopped_by)
    return diagnosis.not_checked["RNN404"]


@pytest.mark.parametrize("roles", [UNKNOWN, KNOWN], ids=["nothing_found", "all_found"])
def test_no_call_of_a_run_is_left_in_any_text_of_a_guard(roles):
    found = [
        one for one in texts() if not any(one[0] == file and call in one[1] for file, call in NOT_IN_UNCHANGED_SCRIPTS)
    ]
    assert len(found) > 20
    advice = {(file, text): rewritten(text, roles).partition("--write-hooked FILE")[0] for file, text in found}
    assert [source for source, text in advice.items() if CALL_OF_A_RUN.search(text)] == []


@pytest.mark.parametrize(
    ("text", "roles", "advice"),
    [
        (
            "show the batch's tokens: run.observe(inputs=..., targets=...)",
            UNKNOWN,
            "the inputs and the targets were not found: --inputs NAME --targets NAME",
        ),
        (
            "run.observe(inputs=..., targets=...)",
            KNOWN,
            "the inputs xs and the targets ys cannot be used: give other names with --inputs and --targets",
        ),
        (
            "the loss, 3, is that of no known function: run.observe(inputs=..., targets=...)",
            UNKNOWN,
            "the loss, 3, is that of no known function; the inputs and the targets were not found: --inputs NAME "
            "--targets NAME",
        ),
        (
            "call run.hidden(batch_size), or run.observe(hidden_states=...)",
            UNKNOWN,
            "no hidden state was found: --state NAME",
        ),
        (
            "train for 20 epochs or more: 1 were seen",
            UNKNOWN,
            "20 epochs or more are needed, and 1 were seen: --batches raises the limit",
        ),
        ("the run was too short", UNKNOWN, "80 batches did not show it: --batches raises the limit"),
    ],
)
def test_the_options_of_the_doctor_take_the_place_of_calls(text, roles, advice):
    assert rewritten(text, roles) == advice


def test_a_script_that_ended_by_itself_is_not_told_of_limits():
    text = "train for 20 epochs or more: 1 were seen"
    assert rewritten(text, stopped_by="script") == text


def test_alarms_and_passed_checks_are_rewritten_too():
    diagnosis = Diagnosis()
    diagnosis.check("RNN701", "parameters changed after run.backward in 9 of 9 training batches that were compared")
    diagnosis.add(
        Alarm(
            code="RNN404",
            cause="",
            message="2 of 2",
            evidence={},
            severity="error",
            epoch=1,
            step=1,
            remedy="compute the gradient of 'b' in the backward pass, or do not pass it to run.backward",
        )
    )
    for_unchanged_script(diagnosis, UNKNOWN, 80, "script")
    assert diagnosis.passed["RNN701"] == "parameters were updated in 9 of 9 training batches that were compared"
    assert diagnosis.alarms[0].remedy == "compute the gradient of 'b' in the backward pass"


def test_a_trainer_has_arguments_in_place_of_calls():
    diagnosis = Diagnosis()
    diagnosis.cannot_check("RNN604", "validate in each epoch: run.batches(val_loader, phase='val')")
    diagnosis.cannot_check("RNN601", "train for 20 epochs or more: 3 were seen")
    diagnosis.report_cannot_tell("RNN302", "the first losses are low: run.observe(logits=...)")
    for_trainer(diagnosis)
    assert diagnosis.not_checked == {
        "RNN601": "train for 20 epochs or more: 3 were seen",
        "RNN604": "pass a validation loader: Trainer.fit(train, validation)",
    }
    assert diagnosis.cannot_tell["RNN302"] == (
        "the first losses are low: Trainer does not call run.observe(logits=...); use your own loop with a Run"
    )
