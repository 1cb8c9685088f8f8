"""The finding of RNN403 in a batch: the non-finite values, their origin, and the remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.detectors.nonfinite import NonFiniteOrigin

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


def non_finite_finding(batch: Batch, origin: NonFiniteOrigin, *, before_update: bool, kept: bool) -> Finding:
    """The finding of a batch whose loss or gradient is not finite.

    ``before_update``: the batch has not updated the parameters yet; ``kept``: it will not.

    Example
    -------
    >>> import numpy as np
    >>> from rnncallbacks.core.batch import Batch
    >>> from rnncallbacks.detectors.nonfinite import find_non_finite
    >>> batch = Batch({"values": np.array([[1.0], [np.inf]])}, "train", 3, loss=np.nan)
    >>> finding = non_finite_finding(batch, find_non_finite(batch, None), before_update=True, kept=True)
    >>> print(finding.message)
    the loss (nan) of batch 3 of train is not finite; the first non-finite value is in the data of the
    loader, array 'values' (1 of 2 entries)
    >>> print(finding.remedy)
    remove or replace the non-finite value in the data of the loader, array 'values', of batch 3 of train
    """
    message = _message(batch, origin, before_update=before_update, kept=kept)
    return Finding("RNN403", message, _evidence(batch, origin), remedy=_remedy(batch, origin))


def _message(batch: Batch, origin: NonFiniteOrigin, *, before_update: bool, kept: bool) -> str:
    symptom, first, finite = origin.symptom, origin.first, origin.finite
    is_loss = symptom.source == "loss"
    message = f"the loss ({batch.loss})" if is_loss else symptom.name
    message += f" of batch {batch.index} of {batch.phase} is not finite"
    when = "was not finite before this batch" if before_update else "is not finite"
    if first.source == "parameters":
        return f"{message}; {first.name} {when} ({first.share})"
    conjunction = "; "
    if first.source == "gradients":
        message += f" ({first.share}); the loss ({batch.loss:.6g}) is finite, so it arose in the backward pass"
    elif first.source != "loss":
        conjunction = ", while "
        back = "going back through time, " if first.source == "hidden_gradients" else ""
        message += f"; {back}the first non-finite value is in {first}"
    elif "logits" in finite:
        message += "; the logits are finite, so it arose in the loss function"
    elif "hidden_states" in finite:
        message += "; the hidden states are finite, so it arose after them"
    else:
        message += "; run.observe(hidden_states=..., logits=...) would show where it arose"
    if origin.parameter is not None:
        return f"{message}; {origin.parameter.name} {when}, too ({origin.parameter.share})"
    if origin.non_finite_parameters is None:
        return message
    return f"{message}{conjunction}the parameters are finite" + (" and unchanged" if kept else "")


def _evidence(batch: Batch, origin: NonFiniteOrigin) -> dict[str, float | int | str]:
    first = origin.first
    evidence: dict[str, float | int | str] = {
        "loss": math.nan if batch.loss is None else batch.loss,
        "batch": batch.index,
        "array": first.array,
        "non_finite": first.non_finite,
        "entries": first.entries,
    }
    if first.time_step is not None and first.seq_len is not None:
        evidence |= {"time_step": first.time_step, "time_steps": first.seq_len}
    if first.row is not None:
        evidence["row"] = first.row
    if origin.non_finite_parameters is not None:
        evidence["non_finite_parameters"] = origin.non_finite_parameters
    return evidence


def _remedy(batch: Batch, origin: NonFiniteOrigin) -> str | None:
    """The remedy for the first array that is not finite; None for that of the catalogue."""
    first = origin.first
    step = "" if first.time_step is None else f" at time step {first.time_step} of {first.seq_len}"
    match first.source:
        case "data" | "inputs" | "targets":
            values = "non-finite value" if first.non_finite == 1 else f"{first.non_finite} non-finite values"
            return f"remove or replace the {values} in {first.name}, of batch {batch.index} of {batch.phase}"
        case "entering_state":
            return "reset the hidden state (hidden_state_reset), and check the batch that computed it"
        case "parameters":
            return (
                f"go back to finite values of {first.name}; then lower the learning rate or clip gradients "
                "(gradient_clipping), as the update before made them"
            )
        case "hidden_states" | "logits":
            return f"lower the learning rate or clip gradients (gradient_clipping): {first.name} overflow{step}"
        case "hidden_gradients":
            return f"clip gradients (gradient_clipping), or use shorter sequences: {first.name} overflow{step}"
        case "gradients":
            return f"check the backward pass that computes {first.name} for divisions by zero and overflows"
    return "compute log-softmax from logits, and lower the learning rate" if "logits" in origin.finite else None
