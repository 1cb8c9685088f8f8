"""The catalogue of alarm codes: cause, severity and remedy of each code, and the codes that it explains.

Each code has a page in the folder ``pages``, such as ``RNN201.md``. ``rnncallbacks explain`` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs

from rnncallbacks.errors import OptionError, closest

Severity: TypeAlias = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@attrs.frozen
class Entry:
    """The catalogue's entry for one code.

    Attributes
    ----------
    cause, severity, remedy:
        Those of an alarm of this code, unless the finding has its own.
    explains:
        The codes that are consequences of this cause if both are raised. They come after this code in the catalogue.
    explains_later:
        The codes that are consequences of this cause only if it was raised before the first update, and they after it.
    may_be_initial:
        Whether this cause is no consequence of others that were raised after it, if it was raised before the first
        update.
    """

    cause: str
    severity: Severity = attrs.field(validator=attrs.validators.in_(SEVERITIES))
    remedy: str
    explains: tuple[str, ...] = attrs.field(default="", converter=_codes)
    explains_later: tuple[str, ...] = attrs.field(default="", converter=_codes)
    may_be_initial: bool = False


# The order decides attribution: of several causes that explain an alarm, the first is named.
CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "RNN701": Entry(
            cause="the training loop breaks the protocol",
            severity="error",
            remedy="keep this order in each training batch: forward pass, backward pass, run.backward, update",
            explains="RNN401 RNN404 RNN405 RNN406 RNN501 RNN502 RNN503 RNN601 RNN602",
        ),
        "RNN503": Entry(
            cause="parameters do not change",
            severity="error",
            remedy="update the arrays that the forward pass reads: in place, or by assigning what the update returns",
            explains="RNN402 RNN403 RNN407 RNN501 RNN502 RNN601 RNN602 RNN603 RNN605",
        ),
        "RNN101": Entry(
            cause="epoch loss divided by the wrong count",
            severity="warning",
            remedy="divide the sum of the batch losses by the number of batches (loss_averaging does this)",
            explains="RNN601 RNN604",
        ),
        "RNN102": Entry(
            cause="training and validation loss normalized differently",
            severity="warning",
            remedy="divide the sum of each phase's batch losses by the number of its own batches",
            explains="RNN601 RNN604",
        ),
        "RNN302": Entry(
            cause="the loss is not a negative log-likelihood",
            severity="error",
            remedy="average the negative logarithm of the softmax probability of each target",
            explains="RNN303 RNN402 RNN404 RNN405 RNN502 RNN601 RNN603 RNN604",
        ),
        "RNN301": Entry(
            cause="the loss is summed, not averaged",
            severity="warning",
            remedy="divide the loss and its gradients by the number of time steps and sequences of the batch",
            explains="RNN303 RNN401 RNN403 RNN407 RNN501 RNN601 RNN602 RNN605",
        ),
        "RNN303": Entry(
            cause="initial weights too large",
            severity="warning",
            remedy="draw orthogonal recurrent weights, and output weights of about 1 / sqrt(hidden_size)",
            explains="RNN401 RNN402 RNN403 RNN407 RNN501 RNN601 RNN602 RNN605",
        ),
        "RNN202": Entry(
            cause="hidden state and batch size do not match",
            severity="error",
            remedy="make the zero state from the current batch: run.hidden(batch_size=inputs.shape[...])",
            explains="RNN201 RNN404 RNN601 RNN602",
        ),
        "RNN201": Entry(
            cause="the hidden state leaks between unrelated sequences",
            severity="error",
            remedy="enter each sequence with a zero state (hidden_state_reset)",
            explains="RNN407 RNN601 RNN602 RNN603 RNN604 RNN605",
        ),
        "RNN203": Entry(
            cause="the state is reset although batches are contiguous",
            severity="warning",
            remedy="carry the state from batch to batch with run.carry(hidden), and reset it where a sequence begins",
            explains="RNN601",
        ),
        "RNN404": Entry(
            cause="the gradient does not match the loss",
            severity="error",
            remedy="compare the backward pass with finite differences, array by array; look for a missing transpose",
            explains="RNN401 RNN402 RNN403 RNN405 RNN407 RNN501 RNN502 RNN601 RNN602 RNN603 RNN605",
        ),
        "RNN405": Entry(
            cause="the gradient is off by a constant factor",
            severity="warning",
            remedy="divide the gradients by the same count as the loss",
            explains="RNN401 RNN403 RNN407 RNN501 RNN502 RNN601 RNN602 RNN605",
        ),
        "RNN406": Entry(
            cause="gradients are never zeroed",
            severity="error",
            remedy="set the gradients to zero before each backward pass",
            explains="RNN401 RNN403 RNN407 RNN501 RNN601 RNN602 RNN605",
        ),
        "RNN401": Entry(
            cause="gradients explode and are not clipped",
            severity="warning",
            remedy="clip gradients between backward pass and update (gradient_clipping, max_norm = 5.0)",
            explains="RNN403 RNN407 RNN501 RNN601 RNN602 RNN605",
        ),
        "RNN501": Entry(
            cause="the learning rate is too high",
            severity="error",
            remedy="divide the learning rate by 10, and adjust it to the loss curve",
            explains="RNN402 RNN403 RNN407 RNN601 RNN602 RNN605",
        ),
        "RNN403": Entry(
            cause="non-finite value",
            severity="error",
            remedy="lower the learning rate, clip gradients (gradient_clipping), and compute log-softmax from logits",
            explains="RNN407 RNN601 RNN602 RNN605",
        ),
        "RNN407": Entry(
            cause="saturated units",
            severity="warning",
            remedy="lower the learning rate, or draw smaller initial weights: saturated units pass no gradient on",
            explains="RNN402 RNN601",
            explains_later="RNN401",
            may_be_initial=True,
        ),
        "RNN402": Entry(
            cause="gradients vanish through time",
            severity="info",
            remedy="use orthogonal recurrent weights, gated cells, or shorter sequences",
            explains="RNN601",
        ),
        "RNN502": Entry(
            cause="the learning rate is too low",
            severity="warning",
            remedy="multiply the learning rate by 10 until updates are about a thousandth of the weights",
            explains="RNN601 RNN603",
        ),
        "RNN603": Entry(
            cause="targets do not depend on the inputs",
            severity="warning",
            remedy="check that inputs and targets belong together: not shuffled separately, not constant",
            explains="RNN601 RNN604",
        ),
        "RNN604": Entry(
            cause="overfitting",
            severity="warning",
            remedy="stop at the best validation loss (early_stopping), or train on more data",
            explains="RNN601",
        ),
        "RNN602": Entry(
            cause="divergence",
            severity="error",
            remedy="lower the learning rate, and clip gradients (gradient_clipping)",
            explains="RNN601 RNN605",
        ),
        "RNN605": Entry(
            cause="loss spike",
            severity="info",
            remedy="check the data of this batch; if spikes recur, clip gradients and lower the learning rate",
        ),
        "RNN601": Entry(
            cause="plateau",
            severity="warning",
            remedy="check averaging, state resets and the loss function first, then the learning rate",
        ),
    }
)
"""The entry of each code of the library."""


def page(code: str) -> str:
    """The page of a code, as Markdown.

    Raises
    ------
    OptionError
        The catalogue has no such code.

    Example
    -------
    >>> page("RNN201").splitlines()[0]
    '# RNN201: the hidden state leaks between unrelated sequences'
    """
    code = code.upper()
    if code not in CATALOGUE:
        raise OptionError(
            f"the catalogue has no code {code!r}",
            hint=closest(code, CATALOGUE) or "run 'rnncallbacks explain' for all of them",
        )
    from importlib.resources import files  # slow to import, and few scripts read a page

    return files(__package__).joinpath("pages", f"{code}.md").read_text("utf-8")
