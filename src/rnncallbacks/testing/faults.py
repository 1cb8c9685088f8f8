"""Faults that are put into healthy trainings on purpose, each with the code that a guard should name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from rnncallbacks.testing.changes import (
    amplified_unclipped,
    by_batch_size,
    by_nothing,
    by_samples,
    few_samples,
    infinite_loss,
    nan_gradient,
    nan_input,
    no_recurrence,
    rate,
    rows,
    scaled_gradient,
    scaled_weights,
    setting,
    shuffled_labels,
    steps,
    tokens,
    untransposed,
)
from rnncallbacks.testing.scripts import AsksForWrongWidth, RecordsOnly, TrainsInValidation, UpdatesFirst, WrongWidth
from rnncallbacks.testing.setups import CELLS, OPTIMISERS, THROUGH, Setup, Through

SHUFFLED = ("characters", "echo", "anbn")
TOKEN_TASKS = (*SHUFFLED, "stream")
ALL_TASKS = (*TOKEN_TASKS, "anbn_single")


def _nothing(setup: Setup) -> None:
    """The training stays healthy."""


@attrs.frozen(kw_only=True)
class Fault:
    """Something wrong with a training, or a healthy training that may look wrong.

    Parameters
    ----------
    name:
        Its name.
    about:
        What the script does, in words.
    codes:
        The codes that name it; the first one exactly, the others acceptably. None for what is healthy.
    kind:
        "fault", "healthy" or "trap".
    change:
        Puts it into a setup.
    tasks, cells, optimisers, through:
        Where it applies. A loop in which it cannot happen is left out.
    report_only:
        The fault changes what is reported and not the training, so that it harms by definition.

    Example
    -------
    A fault of one's own, for a guard of one's own:

    >>> def freeze(setup):
    ...     setup.update = "none"
    >>> Fault(name="update_forgotten", about="no update", codes=("RNN503",), change=freeze).kind
    'fault'
    """

    name: str
    about: str
    codes: tuple[str, ...] = ()
    kind: Literal["fault", "healthy", "trap"] = "fault"
    change: Callable[[Setup], None] = _nothing
    tasks: tuple[str, ...] = TOKEN_TASKS
    cells: tuple[str, ...] = CELLS
    optimisers: tuple[str, ...] = OPTIMISERS
    through: tuple[Through, ...] = THROUGH
    report_only: bool = False


HEALTHY = Fault(name="healthy", about="nothing is wrong", kind="healthy", tasks=ALL_TASKS)

LOOPS: tuple[Through, ...] = ("loop", "plain_loop")


_ALL = (
    Fault(
        name="loss_by_samples",
        about="epoch losses divided by the number of sequences",
        codes=("RNN101",),
        change=setting(report=by_samples, report_validation=by_samples),
        report_only=True,
    ),
    Fault(
        name="loss_by_nothing",
        about="epoch losses summed over the batches and never divided",
        codes=("RNN101",),
        change=setting(report=by_nothing, report_validation=by_nothing),
        report_only=True,
    ),
    Fault(
        name="loss_by_batch_size",
        about="epoch losses divided by the batch size",
        codes=("RNN101",),
        change=setting(report=by_batch_size, report_validation=by_batch_size),
        report_only=True,
    ),
    Fault(
        name="validation_by_samples",
        about="the training loss divided by its batches, the validation loss by its sequences",
        codes=("RNN102",),
        change=setting(report_validation=by_samples),
        report_only=True,
    ),
    Fault(
        name="state_leak",
        about="unrelated sequences, and the state is carried over without a reset",
        codes=("RNN201",),
        change=setting(resets=False),
        tasks=SHUFFLED,
    ),
    Fault(
        name="state_leak_own",
        about="the same with a state in the script's own variable",
        codes=("RNN201",),
        change=setting(resets=False, keeps_state=True),
        tasks=SHUFFLED,
        through=("loop",),
    ),
    Fault(
        name="state_of_one_column",
        about="the last column of the state enters the next batch, and is broadcast",
        codes=("RNN202",),
        change=setting(resets=False, keeps_state=True, script=WrongWidth),
        tasks=SHUFFLED,
        through=("loop",),
    ),
    Fault(
        name="zeros_of_one_column",
        about="zeros for one sequence are broadcast over the batch",
        codes=("RNN202",),
        change=setting(script=AsksForWrongWidth),
        tasks=SHUFFLED,
        through=LOOPS,
    ),
    Fault(
        name="stream_reset",
        about="a contiguous stream, and each batch begins with a zero state",
        codes=("RNN203",),
        change=setting(carries=False),
        tasks=("stream", "recall"),
    ),
    Fault(
        name="sum_over_steps",
        about="loss and gradient summed over the time steps",
        codes=("RNN301",),
        change=setting(loss_factor=steps),
    ),
    Fault(
        name="sum_over_batch",
        about="loss and gradient summed over the sequences",
        codes=("RNN301",),
        change=setting(loss_factor=rows),
    ),
    Fault(
        name="sum_over_all",
        about="loss and gradient summed over all positions",
        codes=("RNN301",),
        change=setting(loss_factor=tokens),
    ),
    Fault(
        name="squared_error",
        about="the squared error where a negative log-likelihood belongs",
        codes=("RNN302",),
        change=setting(objective="mse"),
    ),
    Fault(
        name="huge_weights",
        about="initial weights ten times too large",
        codes=("RNN303",),
        change=scaled_weights(input=10, recurrent=3, output=10),
    ),
    Fault(
        name="huge_output_weights",
        about="initial output weights thirty times too large",
        codes=("RNN303",),
        change=scaled_weights(output=30),
    ),
    Fault(
        name="explosion",
        about="recurrent weights that amplify, and nothing clips",
        codes=("RNN401",),
        change=amplified_unclipped,
        tasks=("anbn",),
        cells=("relu",),
        optimisers=("sgd",),
    ),
    Fault(
        name="nan_input",
        about="a NaN in the inputs of one batch",
        codes=("RNN403",),
        change=setting(inputs=nan_input),
        through=LOOPS,
    ),
    Fault(
        name="infinite_loss",
        about="the loss of one batch is infinite",
        codes=("RNN403",),
        change=setting(loss=infinite_loss),
    ),
    Fault(
        name="nan_gradient",
        about="a NaN in the gradient of one batch",
        codes=("RNN403",),
        change=setting(gradients=nan_gradient),
    ),
    Fault(
        name="missing_transpose",
        about="back through time by the recurrent matrix in place of its transpose",
        codes=("RNN404",),
        change=setting(recurrence=untransposed),
    ),
    Fault(
        name="dropped_term",
        about="no gradient goes back through time",
        codes=("RNN404",),
        change=setting(recurrence=no_recurrence),
    ),
    Fault(
        name="sign_error",
        about="the gradient of the input weights has the wrong sign",
        codes=("RNN404",),
        change=scaled_gradient("input", -1.0),
    ),
    Fault(
        name="zero_gradient",
        about="the gradient of the recurrent weights is zero",
        codes=("RNN404",),
        change=scaled_gradient("recurrent", 0.0),
    ),
    Fault(
        name="mean_reported_sum_descended",
        about="the mean loss reported, the gradient of the sum over time steps",
        codes=("RNN405",),
        change=setting(gradient_factor=steps),
    ),
    Fault(
        name="never_zeroed",
        about="gradients add up over the batches",
        codes=("RNN406",),
        change=setting(accumulates=True),
    ),
    Fault(
        name="saturated",
        about="inputs fifty times too large saturate every unit",
        codes=("RNN407",),
        change=scaled_weights(input=50),
        cells=("tanh",),
    ),
    Fault(name="rate_x10", about="the learning rate ten times too high", codes=("RNN501",), change=rate(10)),
    Fault(name="rate_x30", about="the learning rate thirty times too high", codes=("RNN501",), change=rate(30)),
    Fault(name="rate_x100", about="the learning rate a hundred times too high", codes=("RNN501",), change=rate(100)),
    Fault(name="rate_x0.001", about="the learning rate a thousand times too low", codes=("RNN502",), change=rate(1e-3)),
    Fault(name="no_update", about="the update is forgotten", codes=("RNN503",), change=setting(update="none")),
    Fault(
        name="update_of_a_copy",
        about="the update changes a copy of the parameters",
        codes=("RNN503",),
        change=setting(update="of a copy"),
    ),
    Fault(
        name="updates_first",
        about="the update comes before run.backward",
        codes=("RNN701",),
        change=setting(script=UpdatesFirst),
        through=LOOPS,
    ),
    Fault(
        name="records_only",
        about="training batches without run.backward",
        codes=("RNN701",),
        change=setting(script=RecordsOnly),
        through=LOOPS,
    ),
    Fault(
        name="trains_in_validation",
        about="updates on validation batches",
        codes=("RNN701",),
        change=setting(script=TrainsInValidation),
        through=LOOPS,
    ),
    Fault(
        name="shuffled_labels",
        about="targets that do not belong to the inputs",
        codes=("RNN603",),
        change=shuffled_labels,
        tasks=("characters", "stream", "echo"),
    ),
    Fault(
        name="few_samples",
        about="thirty-two sequences, seen a hundred and twenty times",
        codes=("RNN604",),
        change=few_samples,
        tasks=("characters",),
    ),
)

FAULTS: Mapping[str, Fault] = MappingProxyType({fault.name: fault for fault in _ALL})
"""Faults by name."""
