"""The losses of a validation, between two executions of the training loop."""

import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.role_table import Roles
from rnncallbacks.doctor.validation_phase import trains_in_validation, validation_losses

LOSS = ("end", "__main__", "loss")


@pytest.mark.parametrize(
    ("names", "losses"),
    [
        ([("return", "nll", "return")], [0.5, 0.25]),
        ([("return", "nll#2", "return")], [0.5, 0.25]),  # the second call of an iteration is of the same function
        ([("local", "nll", "loss")], []),
        ([], []),
    ],
)
def test_they_are_what_the_function_of_the_loss_returned(names, losses):
    after = IterationRecord(9, 2, between={("return", "nll", "return"): [0.5, 0.25], ("return", "f", "return"): [9.0]})
    assert validation_losses(after, Roles(loss=LOSS, loss_confidence="certain", loss_names=(LOSS, *names))) == losses


@pytest.mark.parametrize(
    ("additions", "batches", "trains"),
    [({1: 9, 2: 9}, 9, True), ({1: 9}, 9, False), ({1: 1, 2: 1}, 9, False), ({}, 9, False), ({1: 1, 2: 1}, 1, False)],
)
def test_a_validation_trains_if_each_parameter_is_added_to_in_each_batch(additions, batches, trains):
    keys = [("end", "__main__", name) for name in "wb"]
    after = IterationRecord(9, 2, start_identities=dict(zip(keys, (1, 2), strict=True)), additions_between=additions)
    assert trains_in_validation(after, keys, batches) == trains
