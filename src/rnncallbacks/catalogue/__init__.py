"""The catalogue: every code of the library with its cause, severity and remedy, and the codes that it explains.

Beside this module lies a page for each code, ``RNN201.md`` and so on: what ``rnncallbacks explain`` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
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
    """What the catalogue says of one code.

    ``explains`` names the codes that follow from this cause: where both are found, they are its consequences. All of
    them stand behind it in the catalogue.
    """

    cause: str
    severity: Severity
    remedy: str
    explains: tuple[str, ...] = attrs.field(default="", converter=_codes)


# In the order of attribution: of several causes that explain a finding, the first here is named.
CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "RNN701": Entry(
            cause="the loop breaks the protocol",
            severity="error",
            remedy="in each training batch, in this order: forward pass, backward pass, run.backward, and one update",
            explains="RNN401 RNN404 RNN405 RNN406 RNN501 RNN502 RNN503 RNN601 RNN602",
        ),
        "RNN503": Entry(
            cause="parameters do not change",
            severity="error",
            remedy="update the arrays that the forward pass reads: in place, or assign what the update returns",
            explains="RNN502 RNN601 RNN603",
        ),
        "RNN101": Entry(
            cause="epoch loss divided by the wrong count",
            severity="warning",
            remedy="divide the sum of the batch losses by the number of batches that were seen (loss_averaging does)",
            explains="RNN601 RNN604",
        ),
        "RNN102": Entry(
            cause="training and validation loss normalised differently",
            severity="warning",
            remedy="divide the sum of each phase's batch losses by the number of that phase's batches",
            explains="RNN601 RNN604",
        ),
        "RNN302": Entry(
            cause="the loss is not a negative log-likelihood",
            severity="error",
            remedy="take the log of the softmax's probability of each target, and average its negative",
            explains="RNN303 RNN402 RNN404 RNN405 RNN502 RNN601 RNN603",
        ),
        "RNN301": Entry(
            cause="the loss is summed, not averaged",
            severity="warning",
            remedy="divide loss and gradients by the time steps and sequences of the batch",
            explains="RNN303 RNN401 RNN403 RNN405 RNN407 RNN501 RNN502 RNN601 RNN602 RNN605",
        ),
        "RNN303": Entry(
            cause="initialisation too large",
            severity="warning",
            remedy="draw smaller weights: orthogonal recurrent ones, and output weights of about 1 / sqrt(hidden_size)",
            explains="RNN401 RNN402 RNN403 RNN407 RNN501 RNN601 RNN602 RNN605",
        ),
        "RNN202": Entry(
            cause="the state has another width than the batch",
            severity="error",
            remedy="make the zero state from the batch at hand: run.hidden(batch_size=inputs.shape[...])",
            explains="RNN201 RNN404 RNN601 RNN602",
        ),
        "RNN201": Entry(
            cause="the hidden state leaks between unrelated sequences",
            severity="error",
            remedy="let a zero state enter each sequence (hidden_state_reset)",
            explains="RNN407 RNN601 RNN602 RNN603 RNN604 RNN605",
        ),
        "RNN203": Entry(
            cause="a contiguous stream, but the state is always reset",
            severity="warning",
            remedy="carry the state from batch to batch: run.carry(hidden), and reset where a document begins",
            explains="RNN601",
        ),
        "RNN404": Entry(
            cause="the gradient is not that of the loss",
            severity="error",
            remedy="compare the backward pass with finite differences, array by array; look for a missing transpose",
            explains="RNN401 RNN402 RNN403 RNN405 RNN407 RNN501 RNN502 RNN601 RNN602 RNN603 RNN605",
        ),
        "RNN405": Entry(
            cause="the gradient is on another scale than the loss",
            severity="warning",
            remedy="divide the gradients by what the loss is divided by",
            explains="RNN401 RNN403 RNN407 RNN501 RNN502 RNN601 RNN602 RNN605",
        ),
        "RNN406": Entry(
            cause="gradients are never zeroed",
            severity="error",
            remedy="begin each backward pass with gradients of zero",
            explains="RNN401 RNN403 RNN407 RNN501 RNN601 RNN602 RNN605",
        ),
        "RNN401": Entry(
            cause="gradients explode, and nothing clips them",
            severity="warning",
            remedy="clip between backward pass and update (gradient_clipping, max_norm = 5.0)",
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
            remedy="lower the learning rate, or draw smaller weights: a unit at 1 or -1 passes no gradient on",
            explains="RNN402 RNN601",
        ),
        "RNN402": Entry(
            cause="gradients vanish through time",
            severity="info",
            remedy="orthogonal recurrent weights, gated cells, or shorter sequences",
            explains="RNN601",
        ),
        "RNN502": Entry(
            cause="the learning rate is too low",
            severity="warning",
            remedy="multiply the learning rate by 10 until updates are about a thousandth of the weights",
            explains="RNN601 RNN603",
        ),
        "RNN603": Entry(
            cause="targets carry no signal",
            severity="warning",
            remedy="check that inputs and targets belong together: not shuffled apart, not constant",
            explains="RNN601 RNN604",
        ),
        "RNN604": Entry(
            cause="overfitting",
            severity="warning",
            remedy="stop at the best validation loss (early_stopping), or give it more data",
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
            remedy="look at this batch's data; if spikes recur, clip gradients and lower the learning rate",
        ),
        "RNN601": Entry(
            cause="plateau",
            severity="warning",
            remedy="check what feeds the loss first: averaging, state reset, loss function; then the learning rate",
        ),
    }
)
"""Every code of the library."""


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
    return files(__name__).joinpath(f"{code}.md").read_text("utf-8")
