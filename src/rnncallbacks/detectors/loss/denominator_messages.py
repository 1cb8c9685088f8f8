"""The messages of RNN101 and RNN102: a headline with two numbers, and a remedy that names the right denominator."""

from __future__ import annotations

from rnncallbacks.detectors.loss.denominator import Denominator
from rnncallbacks.detectors.loss.phase_losses import PhaseLosses


def denominator_message(phase: str, reported: float, losses: PhaseLosses, found: Denominator) -> str:
    """The headline and the two numbers.

    Example
    -------
    >>> losses = PhaseLosses()
    >>> losses.add(1.75, sequences=32)
    >>> print(denominator_message("train", 1.75 / 32, losses, Denominator("samples", 32, 32.0, "the batch size")))
    train_loss is the mean batch loss divided by 32, the batch size: 0.05469 instead of 1.75
    """
    return f"{phase}_loss is {_claim(losses, found)}: {reported:.4g} instead of {losses.mean:.4g}"


def denominator_remedy(phase: str, losses: PhaseLosses, found: Denominator) -> str:
    """The remedy: the right divisor, in place of the one found.

    Example
    -------
    >>> losses = PhaseLosses()
    >>> losses.add(1.75, sequences=32)
    >>> print(denominator_remedy("train", losses, Denominator("samples", 32, 32.0, "the batch size")))
    divide the sum of the batch losses of train by the 1 batch, not by the 32 samples
    """
    batches = f"{losses.batches} batches" if losses.batches > 1 else "1 batch"
    divide = f"divide the sum of the batch losses of {phase} by the {batches}"
    match found.kind:
        case "undivided":
            return divide
        case "each batch":
            return f"{divide}, without {found.name} in the sum"
        case "squared":
            return f"{divide} once, not twice"
        case "both phases":
            return f"{divide}, and set the sum to 0 before the first of them"
        case "wrong phase":
            return f"report the mean of the {batches} of {phase}"
        case "samples" | "tokens" if found.factor >= 1.0:
            return f"{divide}, not by the {found.value:.10g} {found.kind}"
    if found.factor < 1.0 and found.kind in ("sequences", "steps", "tokens", "vocabulary", "samples"):
        return f"{divide}, and do not multiply it by {1.0 / found.factor:.6g}"
    return f"{divide}, not by {found.value:.10g}"


def _claim(losses: PhaseLosses, found: Denominator) -> str:
    match found.kind:
        case "undivided":
            return f"the sum of the {losses.batches} batch losses, not their mean"
        case "length alone" | "other phase" | "off by one" | "whole number":
            name = f", {found.name}" if found.kind != "whole number" else ""
            return f"the sum of the batch losses divided by {found.value:.10g}{name}"
        case "both phases":
            return f"the sum of {losses.batches} batch losses and of {found.name}"
        case "wrong phase":
            return f"the mean of the batch losses of {found.name}"
        case "each batch":
            what = "divided" if found.factor > 1.0 else "multiplied"
            return f"the mean of the batch losses, each {what} by {found.name}"
        case "squared":
            return f"the mean batch loss divided once more by the {losses.batches} batches"
    if found.factor < 1.0:
        return f"the mean batch loss times {1.0 / found.factor:.6g}, {found.name}"
    return f"the mean batch loss divided by {found.factor:.6g}, {found.name}"
