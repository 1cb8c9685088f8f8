"""The losses of a validation, between two executions of the training loop."""

import pytest

from rnncallbacks.doctor.driving import validation_losses
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.role_table import Roles

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
