"""The roles of a script's values, and their confidence."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

import attrs

from rnncallbacks.doctor.iteration_record import recorded_key
from rnncallbacks.doctor.value_walk import Key

Confidence: TypeAlias = Literal["certain", "likely", "unsure"]


@attrs.frozen
class ParameterRole:
    """One parameter and its gradient.

    Attributes
    ----------
    name:
        The script's expression for the array.
    key:
        Its key at the start and at the end of an iteration.
    gradient:
        The key of the gradient; None if none was found.
    fallback:
        The key of the same gradient in iterations in which ``gradient`` has no value.
    scale:
        The gradient divided by the array: 1.0, or -1.0 if the array is the negative gradient; times the factor by which
        the update multiplies the array besides the learning rate, as one over a count.
    agrees:
        Whether a central difference of the loss has the gradient's value; None if it is not known.
    other_names:
        Keys of the same array, and of arrays that have most entries of the gradient, as a clipped one does.
    """

    name: str
    key: Key
    gradient: Key | None = None
    fallback: Key | None = None
    scale: float = 1.0
    agrees: bool | None = None
    other_names: tuple[Key, ...] = ()


@attrs.frozen
class LossCandidate:
    """A number that may be the loss, with the evidence."""

    key: Key
    name: str
    score: float
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"name": self.name, "where": self.key[1], "score": round(self.score, 2), "reasons": list(self.reasons)}


@attrs.frozen(kw_only=True)
class Roles:
    """The roles of the values of a training loop.

    Attributes
    ----------
    loss:
        The loss; None if no number is one.
    loss_confidence:
        "certain" if its central differences are the gradients, "likely" if the other evidence favors it, otherwise
        "unsure".
    loss_candidates:
        The possible numbers, the best first.
    parameters:
        Arrays that keep a push and move the loss.
    optimizer_state:
        Arrays that keep a push and do not move the loss.
    carried:
        Arrays that forget a push and move the loss: states that are carried into an iteration.
    learning_rate:
        Change over gradient, if it is one number for all parameters; None otherwise.
    plain:
        Whether the update is minus the learning rate times the gradient.
    inputs, targets, entering, hidden:
        Keys of the other values that guards read; None for those not found.
    other_inputs:
        Other arrays of bits that are inputs of the same steps.
    shifted_axis:
        If inputs and targets are one array, the axis along which targets are one step later; None otherwise.
    batch_axis:
        The axis of the inputs along which the sequences of a batch lie, if the user gave it.
    early_loss:
        A key under which a replay knows the loss as early as possible.
    loss_names:
        All keys under which a number is the loss in every iteration and after every push, the earliest first.
    exact:
        Whether a replay gave the same values bit for bit.
    descends_loss:
        Whether the gradients may be those of the loss or of a multiple of it; if not, they are those of another number.
    loss_is:
        What the loss is instead of the number that the gradients descend; empty if it is this number, or if nothing is
        known.
    updates:
        How often an iteration updates the parameters.
    """

    loss: Key | None
    loss_confidence: Confidence
    loss_candidates: tuple[LossCandidate, ...] = ()
    parameters: tuple[ParameterRole, ...] = ()
    optimizer_state: tuple[Key, ...] = ()
    carried: tuple[Key, ...] = ()
    learning_rate: float | None = None
    plain: bool = False
    inputs: Key | None = None
    other_inputs: tuple[Key, ...] = ()
    targets: Key | None = None
    entering: Key | None = None
    hidden: Key | None = None
    shifted_axis: int | None = None
    batch_axis: int | None = None
    early_loss: Key | None = None
    loss_names: tuple[Key, ...] = ()
    exact: bool = False
    descends_loss: bool = True
    loss_is: str = ""
    updates: int = 1

    @property
    def with_gradient(self) -> tuple[ParameterRole, ...]:
        """The parameters whose gradient was found."""
        return tuple(one for one in self.parameters if one.gradient is not None)

    @property
    def inputs_text(self) -> str:
        """The inputs as text; empty if they were not found."""
        return ", ".join(key_text(key) for key in (self.inputs, *self.other_inputs) if key is not None)

    @property
    def wanted(self) -> frozenset[Key]:
        """The keys that must be recorded in each iteration."""
        keys = {
            self.loss,
            self.early_loss,
            self.inputs,
            self.targets,
            self.entering,
            self.hidden,
            *self.carried,
            *self.other_inputs,
        }
        for one in self.parameters:
            keys |= {one.key, one.gradient, one.fallback}
        return frozenset(recorded_key(key) for key in keys if key is not None)


def key_text(key: Key) -> str:
    """A key as text for the user: the expression, with its function if it is not one of the loop's own names.

    Example
    -------
    >>> key_text(("end", "__main__", "loss")), key_text(("return", "loss_of", "return[0]"))
    ('loss', 'loss_of():return[0]')
    """
    kind, scope, name = key
    if kind == "increase":
        return f"increase of {name}"
    if kind in ("raw", "operand", "shown"):
        return name.split("#")[0]
    return name if kind == "end" else f"{scope.split('#')[0]}():{name}"


def ends_as_parameter(key: Key, parameter: Key) -> bool:
    """Whether the last word of an expression ends with that of a parameter, as the name of its gradient does.

    >>> ends_as_parameter(("local", "back", "d_by"), ("end", "f", "net.by"))
    True
    """
    end = re.findall(r"\w+", parameter[2])[-1].lower()
    return bool(re.search(rf"{end}\W*$", key_text(key).lower()))


def root_of(expression: str) -> str:
    """The variable at the head of an expression.

    >>> root_of("net.w['U']")
    'net'
    """
    return re.split(r"\W", expression)[0]


def scope_function(scope: str) -> str:
    """The function of a scope of keys, as statements name it.

    >>> scope_function("fit.<locals>.step#2")
    'fit.step'
    """
    return scope.split("#")[0].replace(".<locals>", "")
