"""What users with the habits of other libraries are told of their mistakes."""

import logging

import numpy as np
import pytest

from rnncallbacks import Run, hookimpl
from rnncallbacks.errors import RnnCallbacksError, one_line
from rnncallbacks.plugins import EarlyStopping, GradientClipping
from rnncallbacks.testing import play

W, U = np.ones((2, 2)), np.zeros((2, 2))


class Model:
    def __init__(self):
        self.w, self.hidden_size = np.ones(2), 2


def plugin(**hooks):
    return type("Mine", (), {name: hookimpl(function) for name, function in hooks.items()})()


def halve(grads):
    grads["w"] = grads["w"] / 2


def trained(params, grads):
    with Run(params) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0]):
                run.backward(1.0, grads)


MISTAKES = {
    "gradients are returned": (
        lambda: play([plugin(on_backward=lambda self, grads: {"w": grads["w"] / 2})], losses=[1.0]),
        "change arrays in place, for example grads['w'][...] = value, and return nothing",
    ),
    "a hook without self": (
        lambda: Run(plugins=[plugin(on_epoch_end=lambda run: None)]),
        "write def on_epoch_end(self, run)",
    ),
    "a gradient is replaced": (
        lambda: play([plugin(on_backward=lambda self, grads: halve(grads))], losses=[1.0]),
        "change it in place: grads['w'][...] = value",
    ),
    "names of plugins": (
        lambda: Run(plugins=["early_stopping"]),
        "write plugins=load_plugins({'plugins': {'early_stopping': {}}}), or import the class and make one",
    ),
    "one plugin without a list": (lambda: Run(plugins=GradientClipping()), "write plugins=[...]"),
    "a wrong positional option": (lambda: GradientClipping("value"), "max_norm: expected a number > 0, got 'value'"),
    "a model": (lambda: Run(Model()), "pass its arrays: {'w': model.w}"),
    "a model in a list": (lambda: Run([Model()]), "pass its arrays: {'w': model.w}"),
    "the attributes of a model": (
        lambda: Run(vars(Model())),
        "params at 'hidden_size': expected a NumPy array, or a dict, list or tuple of arrays, got int; leave it out",
    ),
    "pairs of gradient and parameter": (
        lambda: trained({"W": W}, [(U, W)]),
        "the gradient '0.1' is the parameter 'W' itself; pass the gradients alone",
    ),
    "gradients of other shapes": (
        lambda: trained({"W": W, "b": np.ones(2)}, {"W": np.ones(2), "b": np.ones(2)}),
        "'W' has shape (2,), its parameter (2, 2)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_with_the_correction(mistake):
    act, correction = MISTAKES[mistake]
    with pytest.raises(RnnCallbacksError) as told:
        act()
    assert correction in one_line(told.value)


@pytest.mark.parametrize(
    ("params", "grads", "text"),
    [
        ({"W": W, "b": np.ones(2)}, {"dW": U, "db": np.ones(2)}, ""),
        ({"W": W, "b": np.ones(2)}, [U, np.ones(2)], ""),
        ([W, U], [np.ones((2, 2)), np.ones((2, 2))], ""),
        ({"W": W}, {"kernel": U}, "'kernel': it is compared with 'W', the only one of its shape (2, 2)"),
        ({"W": W, "U": U}, {"kernel": W.copy(), "U": W.copy()}, "'kernel': no check uses it"),
        ({"W": W, "U": U}, [W.copy(), W.copy()], "no shape gives the parameter of '0', '1': no check uses it"),
    ],
)
def test_gradients_named_otherwise_than_parameters_are_told_once(params, grads, text, caplog):
    with caplog.at_level(logging.WARNING, logger="rnncallbacks"):
        trained(params, grads)
    assert len(caplog.messages) == (1 if text else 0)
    assert text in "".join(caplog.messages)


def test_the_first_option_of_a_plugin_may_be_given_without_its_name():
    assert GradientClipping(1.0).max_norm == 1.0
    assert EarlyStopping("val_loss").monitor == "val_loss"
