"""The faults of the independent scripts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rnncallbacks.testing.independent.independent_changes import (
    inverse_number_of_positions,
    late_rise,
    no_recurrence,
    number_of_positions,
    number_of_sequences,
    number_of_steps,
    over_batch_size,
    over_nothing,
    over_sequences,
    scaled_array,
    scaled_weights,
    shuffled_targets,
    targets_equal_inputs,
    targets_one_step_late,
    untransposed,
)
from rnncallbacks.testing.independent.independent_fault import IndependentFault, with_classes
from rnncallbacks.testing.independent.independent_losses import (
    brier_score,
    negative_likelihood,
    softmax_twice,
)
from rnncallbacks.testing.independent.independent_tasks import IndependentTask
from rnncallbacks.testing.independent.independent_updates import OptimizerName
from rnncallbacks.testing.independent.knobs import Knobs
from rnncallbacks.testing.independent.styled_network import Backpropagation

NOT_ADAPTIVE: tuple[OptimizerName, ...] = ("sgd", "momentum")


def _each_step(task: IndependentTask) -> bool:
    return task.where == "each step"


def _real_inputs(task: IndependentTask) -> bool:
    return task.name in ("sine", "adding", "permuted")


def _unrelated(task: IndependentTask) -> bool:
    return not task.stream


def _streams(task: IndependentTask) -> bool:
    return task.stream


def _earlier_or_next_input(task: IndependentTask) -> bool:
    """Targets are inputs of another step, so that those of the same step can be taken by mistake."""
    return task.name in ("copy", "lagged", "sine") or task.next_token


def _next_input(task: IndependentTask) -> bool:
    return task.name == "sine" or task.next_token


_ALL = (
    IndependentFault(
        name="sum_over_steps",
        about="loss and gradient summed over the time steps",
        codes=("RNN301",),
        knobs=Knobs(loss_factor=number_of_steps),
        tasks=_each_step,
        optimizers=NOT_ADAPTIVE,
    ),
    IndependentFault(
        name="sum_over_batch",
        about="loss and gradient summed over the sequences",
        codes=("RNN301",),
        knobs=Knobs(loss_factor=number_of_sequences),
        styles=("lists", "rows"),
        optimizers=NOT_ADAPTIVE,
    ),
    IndependentFault(
        name="sum_over_all",
        about="loss and gradient summed over all positions",
        codes=("RNN301",),
        knobs=Knobs(loss_factor=number_of_positions),
        tasks=_each_step,
        styles=("lists", "rows"),
        optimizers=NOT_ADAPTIVE,
    ),
    IndependentFault(
        name="divided_twice",
        about="the mean loss and its gradient divided once more by the number of positions",
        codes=("RNN301", "RNN302"),
        knobs=Knobs(loss_factor=inverse_number_of_positions),
        tasks=_each_step,
        optimizers=NOT_ADAPTIVE,
    ),
    IndependentFault(
        name="squared_error",
        about="the squared error of softmax probabilities as the loss of classes",
        codes=("RNN302",),
        knobs=Knobs(objective=brier_score),
        tasks=with_classes,
    ),
    IndependentFault(
        name="no_logarithm",
        about="the negative likelihood, without its logarithm",
        codes=("RNN302",),
        knobs=Knobs(objective=negative_likelihood),
        tasks=with_classes,
    ),
    IndependentFault(
        name="softmax_twice",
        about="the softmax of the softmax in the loss",
        codes=("RNN302",),
        knobs=Knobs(objective=softmax_twice),
        tasks=with_classes,
    ),
    IndependentFault(
        name="missing_transpose",
        about="back through time by the recurrent matrix in place of its transpose",
        codes=("RNN404",),
        knobs=Knobs(backpropagation=Backpropagation(recurrent=untransposed)),
    ),
    IndependentFault(
        name="missing_transpose_unseen",
        about="the same, where the loader yields numbers of batches",
        codes=("RNN404",),
        knobs=Knobs(backpropagation=Backpropagation(recurrent=untransposed), yields_numbers=True),
    ),
    IndependentFault(
        name="dropped_term",
        about="no gradient goes back through the recurrent matrix",
        codes=("RNN404",),
        knobs=Knobs(backpropagation=Backpropagation(recurrent=no_recurrence)),
    ),
    IndependentFault(
        name="last_state_first",
        about="the gradient of the first step reads the last state as its previous one",
        codes=("RNN404",),
        knobs=Knobs(backpropagation=Backpropagation(wraps=True)),
    ),
    IndependentFault(
        name="sign_of_recurrent_gradient",
        about="the gradient of one recurrent array has the wrong sign",
        codes=("RNN404",),
        knobs=Knobs(gradients=scaled_array("recurrent", -1.0)),
    ),
    IndependentFault(
        name="sign_of_output_gradient",
        about="the gradient of the output weights has the wrong sign",
        codes=("RNN404",),
        knobs=Knobs(gradients=scaled_array("output", -1.0)),
    ),
    IndependentFault(
        name="sign_of_bias_gradient",
        about="the gradient of one hidden bias has the wrong sign",
        codes=("RNN404",),
        knobs=Knobs(gradients=scaled_array("bias", -1.0)),
    ),
    IndependentFault(
        name="zero_recurrent_gradient",
        about="the gradient of one recurrent array is zero",
        codes=("RNN404", "RNN503"),
        knobs=Knobs(gradients=scaled_array("recurrent", 0.0)),
    ),
    IndependentFault(
        name="doubled_input_gradient",
        about="the gradient of one input array is twice as large",
        codes=("RNN404", "RNN405"),
        knobs=Knobs(gradients=scaled_array("input", 2.0)),
    ),
    IndependentFault(
        name="summed_output_bias",
        about="the gradient of the output bias is 24 times as long, as if it were summed",
        codes=("RNN405", "RNN404"),
        knobs=Knobs(gradients=scaled_array("output bias", 24.0)),
        optimizers=NOT_ADAPTIVE,
    ),
    IndependentFault(
        name="mean_reported_sum_descended",
        about="the mean loss reported, the gradient of the sum over positions",
        codes=("RNN405",),
        knobs=Knobs(gradient_factor=number_of_positions),
        tasks=_each_step,
        optimizers=NOT_ADAPTIVE,
    ),
    IndependentFault(
        name="never_zeroed",
        about="gradients add up over all batches",
        codes=("RNN406",),
        knobs=Knobs(never_zeroed=True),
    ),
    IndependentFault(
        name="explosion",
        about="recurrent weights four times too large, and nothing clips",
        codes=("RNN401", "RNN303"),
        knobs=Knobs(weights=scaled_weights(recurrent=4.0), max_norm=None),
        cells=("tanh",),
    ),
    IndependentFault(
        name="nan_gradient",
        about="the gradient of one array is NaN in one batch",
        codes=("RNN403",),
        knobs=Knobs(poisoned_step=37),
    ),
    IndependentFault(
        name="rate_x30", about="the learning rate thirty times too high", codes=("RNN501",), knobs=Knobs(rate=30.0)
    ),
    IndependentFault(
        name="rate_x100", about="the learning rate a hundred times too high", codes=("RNN501",), knobs=Knobs(rate=100.0)
    ),
    IndependentFault(
        name="late_rate_x40",
        about="the learning rate forty times too high from the middle of the run on",
        codes=("RNN501", "RNN602"),
        knobs=Knobs(schedule=late_rise),
    ),
    IndependentFault(
        name="rate_x0.001",
        about="the learning rate a thousand times too low",
        codes=("RNN502",),
        knobs=Knobs(rate=1e-3),
    ),
    IndependentFault(name="no_update", about="the update is forgotten", codes=("RNN503",), knobs=Knobs(update="none")),
    IndependentFault(
        name="update_of_a_copy",
        about="the update changes a copy of the parameters",
        codes=("RNN503",),
        knobs=Knobs(update="of a copy"),
    ),
    IndependentFault(
        name="flipped_update",
        about="the update goes up the gradient",
        codes=("RNN503", "RNN404", "RNN501"),
        knobs=Knobs(update="flipped"),
    ),
    IndependentFault(
        name="forgotten_array",
        about="the update leaves out the output weights",
        codes=("RNN503",),
        knobs=Knobs(forgotten="output"),
    ),
    IndependentFault(
        name="validation_trains",
        about="the batches of the validation update the parameters, too",
        codes=("RNN701",),
        knobs=Knobs(trains_in_validation=True),
        always_harms=True,
    ),
    IndependentFault(
        name="state_leak",
        about="unrelated sequences, and the state is carried over without a reset",
        codes=("RNN201",),
        knobs=Knobs(leaks=True),
        tasks=_unrelated,
    ),
    IndependentFault(
        name="stream_reset",
        about="a contiguous stream, and each batch begins with a zero state",
        codes=("RNN203",),
        knobs=Knobs(resets=True),
        tasks=_streams,
    ),
    IndependentFault(
        name="loss_over_sequences",
        about="epoch losses divided by the number of sequences",
        codes=("RNN101",),
        knobs=Knobs(report=over_sequences),
        styles=("lists", "rows"),
        always_harms=True,
    ),
    IndependentFault(
        name="loss_over_nothing",
        about="epoch losses summed over the batches and never divided",
        codes=("RNN101",),
        knobs=Knobs(report=over_nothing),
        always_harms=True,
    ),
    IndependentFault(
        name="loss_over_batch_size",
        about="epoch losses divided by the batch size",
        codes=("RNN101",),
        knobs=Knobs(report=over_batch_size),
        styles=("lists", "rows"),
        always_harms=True,
    ),
    IndependentFault(
        name="shuffled_labels",
        about="targets that do not belong to the inputs",
        codes=("RNN603",),
        knobs=Knobs(data=shuffled_targets),
    ),
    IndependentFault(
        name="targets_equal_inputs",
        about="targets that are the inputs of the same step",
        codes=("RNN603",),
        knobs=Knobs(data=targets_equal_inputs),
        tasks=_earlier_or_next_input,
    ),
    IndependentFault(
        name="targets_two_ahead",
        about="targets two steps ahead in place of one",
        codes=("RNN603",),
        knobs=Knobs(data=targets_one_step_late),
        tasks=_next_input,
    ),
    IndependentFault(
        name="absurd_inputs",
        about="inputs two hundred times as large as they should be",
        codes=("RNN407",),
        knobs=Knobs(input_scale=200.0),
        tasks=_real_inputs,
    ),
    IndependentFault(
        name="huge_weights",
        about="initial weights ten times too large",
        codes=("RNN303", "RNN407"),
        knobs=Knobs(weights=scaled_weights(input=10.0, recurrent=10.0, output=10.0)),
    ),
    IndependentFault(
        name="huge_output_weights",
        about="initial output weights thirty times too large",
        codes=("RNN303",),
        knobs=Knobs(weights=scaled_weights(output=30.0)),
    ),
)

INDEPENDENT_FAULTS: Mapping[str, IndependentFault] = MappingProxyType({fault.name: fault for fault in _ALL})
"""The faults by name."""
