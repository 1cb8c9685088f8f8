"""Rewrites the advice of guards for scripts that cannot follow it: unchanged scripts, and scripts with a ``Trainer``.

Guards advise calls of a run, such as ``run.observe(inputs=..., targets=...)``. A script without a ``Run`` has the
options of the doctor in their place, and a script with a ``Trainer`` the arguments of the trainer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import attrs

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.verdict import counted
from rnncallbacks.core import script_function
from rnncallbacks.doctor.roles.role_table import Roles, key_text

Rewriting: TypeAlias = tuple[str, str]
"""A pattern of the advice, and its replacement, which may have the groups of the pattern."""

WRITE_HOOKED = "--write-hooked FILE, and in FILE"
NO_VALIDATION = f"no validation is followed: {WRITE_HOOKED} run.batches(val_loader, phase='val')"
CANNOT_REPEAT = "the script's iterations cannot be repeated, so the loss at other parameters is unknown"
NO_LOGITS = f"logits are not inferred: {WRITE_HOOKED} run.observe(logits=...)"
NO_HIDDEN_GRADIENTS = (
    f"gradients of hidden states are not inferred: {WRITE_HOOKED} run.observe(hidden_gradients=...), one a time step, "
    "of sequences of ten steps or more"
)
FIT_WITH_VALIDATION = "pass a validation loader: Trainer.fit(train, validation)"
LOOP_OF_YOUR_OWN = "Trainer does not call {call}; use your own loop with a Run"


def for_unchanged_script(diagnosis: Diagnosis, roles: Roles, batches: int, stopped_by: str) -> None:
    """Rewrite the texts of a diagnosis for a script without a ``Run``.

    Parameters
    ----------
    diagnosis:
        The diagnosis.
    roles:
        The roles of the values of the script's loop.
    batches:
        Number of examined iterations.
    stopped_by:
        The reason for which the examination ended: "batches", "time" or "script".
    """
    rewritings = [
        *_of_data(roles),
        *_of_states(roles),
        *_of_replays(),
        *_of_length(batches, stopped_by),
        *_of_reports(),
    ]
    _rewrite(diagnosis, lambda text: _rewritten(text, rewritings))


def for_trainer(diagnosis: Diagnosis) -> None:
    """Rewrite the reasons for missing checks in the diagnosis of a ``Trainer``."""

    def rewritten(text: str) -> str:
        text = _rewritten(text, _OF_TRAINER)
        return re.sub(r"run\.(observe|log|hidden)\([^()]*\)", _own_loop, text)

    content = diagnosis.content()
    content = attrs.evolve(
        content,
        not_checked={code: rewritten(text) for code, text in content.not_checked.items()},
        cannot_tell={code: rewritten(text) for code, text in content.cannot_tell.items()},
    )
    diagnosis.restore(content)


def _own_loop(match: re.Match[str]) -> str:
    return LOOP_OF_YOUR_OWN.format(call=match[0])


_TWO_PHASES = r"report the script's own losses of two phases: run\.log\(train_loss=\.\.\., val_loss=\.\.\.\)"
_VALIDATE = (
    r"validate in each epoch: run\.batches\(val_loader, phase='val'\)|validate in \d+ epochs or more: 0 were seen"
)
_HIDDEN_GRADIENTS = r"run\.observe\(hidden_gradients=\.\.\.\), one a time step, of sequences of ten steps or more"
_TANH_STATES = r"run\.observe\(hidden_states=\.\.\.\) of tanh units"
_DATA = r"run\.observe\(inputs=\.\.\., targets=\.\.\.\)"
_CLOSURE = r"pass closure= to run\.backward"
_LOGITS = r"run\.observe\(logits=\.\.\.\)"

_OF_TRAINER: Sequence[Rewriting] = (
    (f"{_TWO_PHASES}|{_VALIDATE}", FIT_WITH_VALIDATION),
    (
        _HIDDEN_GRADIENTS,
        "train without micro_batch_size, with sequences of ten steps or more: Trainer then shows the gradients of "
        "hidden states",
    ),
    (_TANH_STATES, "needs a model with tanh units, and a Trainer without micro_batch_size"),
)


def _of_data(roles: Roles) -> list[Rewriting]:
    known = {"inputs": roles.inputs, "targets": roles.targets}
    missing = [name for name, key in known.items() if key is None]
    if missing:
        options = " ".join(f"--{name} NAME" for name in missing)
        advice = f"the {' and the '.join(missing)} were not found: {options}"
    else:
        named = " and ".join(f"the {name} {key_text(key)}" for name, key in known.items() if key is not None)
        advice = f"{named} cannot be used: give other names with --inputs and --targets"
    advice = advice.replace("\\", r"\\")
    return [
        (rf"{_DATA}, or give batches an attribute starts", advice),
        (rf"(show the batch's tokens|show the targets): {_DATA}", advice),
        (rf": {_DATA}", f"; {advice}"),
        (_DATA, advice),
        (
            r"say which axis is the batch: run\.backward\(\.\.\., sequences=\) or run\.hidden\(batch_size\)",
            "say which axis of the inputs is the batch: --batch-axis INTEGER",
        ),
    ]


def _of_states(roles: Roles) -> list[Rewriting]:
    tanh = "no hidden states were found: --state NAME"
    if roles.hidden is not None or roles.entering is not None:
        tanh = "the states that were found are not one array of tanh units for each time step: --state NAME"
    return [
        (
            r"call run\.hidden\(batch_size\), or run\.observe\(hidden_states=\.\.\.\)",
            "no hidden state was found: --state NAME",
        ),
        (
            r"run\.observe\(entering_state=\.\.\.\), or put the state before the first time step first in "
            r"hidden_states",
            "the state that enters a batch was not found: --state NAME",
        ),
        (_TANH_STATES, tanh),
        (_HIDDEN_GRADIENTS, NO_HIDDEN_GRADIENTS),
        (
            r"; run\.observe\(hidden_states=\.\.\., logits=\.\.\.\) would show where it arose",
            "" if roles.hidden is not None else "; with --state NAME, the hidden states would show where it arose",
        ),
    ]


def _of_replays() -> list[Rewriting]:
    return [
        (rf"{_CLOSURE}, or {_LOGITS}( with the outputs)?", CANNOT_REPEAT),
        (rf"; {_CLOSURE} to be sure", f"; {CANNOT_REPEAT}"),
        (rf"{_CLOSURE}, or train for two epochs", f"{CANNOT_REPEAT}, and two epochs were not seen"),
        (_CLOSURE, CANNOT_REPEAT),
        (_LOGITS, NO_LOGITS),
        (r"iterate run\.batches\(loader, phase='val'\) there, and call no update in it", "take the update out of it"),
        (r"and run\.backward was given", "and the iteration had"),
        (r"run\.backward was given", "the iteration had"),
        (r"the closure gives", "a repeated iteration gives"),
        (r"the closure does not see run\.params: .*", "the loss of a repeated iteration does not depend on them"),
        (r"the closure does not see run\.params", "a repeated iteration does not depend on the parameters"),
        (r"(pass|give) the parameters(: | to )Run\(params.*\).*", "the parameters were not found: --params NAMES"),
        (r"the parameters of Run\(params\)", "the parameters"),
        (r", and let the closure read it from the container of Run\(params\)", ""),
        (r", or do not pass (it|arrays that are not trained) to run\.backward", ""),
        (r"call run\.backward before gradients are clipped", "the gradients are known only after they are clipped"),
    ]


def _of_length(batches: int, stopped_by: str) -> list[Rewriting]:
    option = {"batches": "--batches", "time": "--seconds"}.get(stopped_by)
    if option is None:
        return []
    return [
        (r"the run was too short: (.*)", rf"\1: {option} raises the limit"),
        (
            r"the run was too short",
            f"{counted(batches, 'batch', 'batches')} did not show it: {option} raises the limit",
        ),
        (
            r"train for (\d+ \w+( and an epoch)? or more): (\d+( batches)? were seen)",
            rf"\1 are needed, and \3: {option} raises the limit",
        ),
    ]


def _of_reports() -> list[Rewriting]:
    return [
        (
            r"report the script's own epoch loss: run\.log\(train_loss=\.\.\.\)",
            "the script keeps or prints no number that is the sum of an epoch's batch losses over a count",
        ),
        (f"{_TWO_PHASES}|{_VALIDATE}", NO_VALIDATION),
        (r"in a phase of its own: run\.batches\(val_loader, phase='val'\)", "in a loop of its own"),
        (r"parameters changed after run\.backward", "parameters were updated"),
        (
            r"parameters changed in the phase val: .*",
            "the validation trains: between two epochs, statements add to the parameters in each of its batches",
        ),
        (r"keep this order in each training batch: .*", "update the parameters in the training loop only"),
        (r"what run\.log\((\w+)=\.\.\.\) reports", r"what the script reports as \1"),
        (r"between run\.backward and", "between its gradients and"),
    ]


def _rewritten(text: str, rewritings: Sequence[Rewriting]) -> str:
    for pattern, replacement in rewritings:
        text = re.sub(pattern, replacement, text)
    return text


def _rewrite(diagnosis: Diagnosis, rewritten: Callable[[str], str]) -> None:
    """Rewrite all texts of a diagnosis."""

    def of_alarm(alarm: Alarm) -> Alarm:
        return attrs.evolve(alarm, message=rewritten(alarm.message), remedy=rewritten(alarm.remedy))

    content = diagnosis.content()
    content = attrs.evolve(
        content,
        alarms=[of_alarm(one) for one in content.alarms],
        compared={code: rewritten(text) for code, text in content.compared.items()},
        cannot_tell={code: rewritten(text) for code, text in content.cannot_tell.items()},
        not_checked={code: rewritten(text) for code, text in content.not_checked.items()},
    )
    diagnosis.restore(content)


@contextmanager
def closures_without_warnings() -> Iterator[None]:
    """Log no warning about closures in the body: they are the doctor's own, and no line of the script passes one."""

    def is_of_another(record: logging.LogRecord) -> bool:
        return record.pathname != script_function.__file__

    script_function.logger.addFilter(is_of_another)
    try:
        yield
    finally:
        script_function.logger.removeFilter(is_of_another)
