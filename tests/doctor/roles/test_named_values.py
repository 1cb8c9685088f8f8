"""Names on the command line that no value of the loop has, or a value in another role."""

import re

import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.given_roles import GivenRoles
from rnncallbacks.doctor.roles.named_values import infer_named_roles
from rnncallbacks.doctor.roles.role_table import ParameterRole, Roles
from rnncallbacks.doctor.value_walk import Steps
from rnncallbacks.errors import OptionError

W, DW = ("end", "__main__", "W"), ("local", "backward", "dW")
LOSS, STATE = ("end", "__main__", "loss"), ("end", "__main__", "h")
STATES, INPUTS = ("local", "forward", "hs"), ("end", "__main__", "inputs")
END = {W: np.ones((3, 3)), LOSS: 2.5, STATE: np.ones(3), INPUTS: np.arange(4)}
RECORD = IterationRecord(
    1, 1, start={W: END[W], STATE: END[STATE]}, end=END, inside={DW: np.ones((3, 3)), STATES: Steps(np.ones((5, 3)))}
)
TRAINING = Roles(
    loss=LOSS,
    loss_confidence="certain",
    parameters=(ParameterRole("W", W, DW),),
    carried=(STATE,),
    hidden=STATES,
    inputs=INPUTS,
)


def inferred(given, training=True, only_loop=False):
    """The roles with given names; a name that is no parameter leaves the loop without parameters."""

    def infer(named):
        return TRAINING if training and named.params in ((), ("W",)) else Roles(loss=None, loss_confidence="unsure")

    return infer_named_roles(infer, given, [RECORD], "train.py:9", only_loop=only_loop)


REFUSED = {
    "--loss: expected a number seen in the loop train.py:9, got 'los'\n  hint: did you mean 'loss'?": {"loss": "los"},
    "--loss: expected a number .* got 'W', which is an array of shape (3, 3)\n  hint: there are loss": {"loss": "W"},
    "--params: expected an array that exists when .* got 'dW', which is an array .*\n  hint: did you mean 'W'": {
        "params": ("dW",)
    },
    "--params: expected parameters .* got h\n  hint: --show-roles without --params": {"params": ("h",)},
    "--grads: expected an array .* got 'dw'\n  hint: did you mean 'dW'": {"grads": ("dw",)},
    "--grads: 'h' cannot have this role in the loop train.py:9: no parameter is updated along it": {"grads": ("h",)},
    "--inputs: expected numbers .* got 'inpts'\n  hint: did you mean 'inputs'": {"inputs": "inpts"},
    "--targets: expected numbers .* got 'zzz'\n  hint: there are W, h, loss, inputs": {"targets": "zzz"},
    "--state: expected an array or a sequence .* got 'nope'\n  hint: there are W, h, inputs, dW, hs": {
        "state": ("nope",)
    },
    "--state: 'W' cannot have this role in the loop train.py:9: it is no sequence": {"state": ("W",)},
    "--batch-axis: expected an axis of the inputs inputs, which have 1, got 2": {"batch_axis": 2},
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_name_that_cannot_have_the_role(message):
    with pytest.raises(OptionError) as caught:
        inferred(GivenRoles(**REFUSED[message]))
    text = str(caught.value)
    for part in re.split(r" ?\.\* ?", message):
        assert part in text


def test_right_names():
    given = GivenRoles(
        loss="loss", params=("W",), grads=("backward():dW",), inputs="inputs", state=("h", "hs"), batch_axis=-1
    )
    assert inferred(given) is TRAINING


def test_a_name_of_another_loop_is_refused_only_where_the_loop_is_named():
    given = GivenRoles(loss="cost")
    assert inferred(given, training=False).parameters == ()
    with pytest.raises(OptionError):
        inferred(given, training=False, only_loop=True)
