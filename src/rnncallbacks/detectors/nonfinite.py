"""Where the first value that is not finite stands, among all that is seen of a batch, in the order of cause and effect.

It takes a pass over all of it, so it is asked only when a loss or a gradient is known to be NaN or infinite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.detectors.batch_arrays import Part, causes, outcomes, whole

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

WORDS = {
    "data": "what the loader yielded",
    "inputs": "the inputs",
    "entering_state": "the state that entered it",
    "parameters": "the parameters",
    "hidden_states": "the hidden states",
    "logits": "the logits",
    "targets": "the targets",
    "loss": "the loss",
    "hidden_gradients": "the gradients of the hidden states",
    "gradients": "the gradient",
}


@attrs.frozen(kw_only=True)
class Place:
    """Where values are not finite: ``non_finite`` of the ``entries`` of one array, or of one time step of it.

    ``row`` is the first sequence that has one, of ``rows``. Time steps and rows count from 1, and are None where
    nothing tells them.

    Example
    -------
    >>> print(Place(source="hidden_states", non_finite=3, entries=512, time_step=7, seq_len=20))
    the hidden states, time step 7 of 20 (3 of 512 entries)
    """

    source: str
    path: str = ""
    non_finite: int
    entries: int
    time_step: int | None = None
    seq_len: int | None = None
    row: int | None = None
    rows: int | None = None

    @property
    def array(self) -> str:
        """Source and path as one name, such as ``gradients.head.weight``."""
        return f"{self.source}.{self.path}" if self.path else self.source

    @property
    def words(self) -> str:
        """What the array is called in a message."""
        if not self.path:
            return WORDS[self.source]
        if self.source in ("parameters", "gradients"):
            return f"the {self.source.removesuffix('s')} {self.path!r}"
        return f"{WORDS[self.source]}, array {self.path!r}"

    @property
    def share(self) -> str:
        """How many of the entries, in words."""
        return f"{self.non_finite} of {self.entries} entries"

    def __str__(self) -> str:
        step = "" if self.time_step is None else f", time step {self.time_step} of {self.seq_len}"
        row = "" if self.row is None or self.rows == 1 else f", row {self.row} of {self.rows}"
        return f"{self.words}{step}{row} ({self.share})"


@attrs.frozen(kw_only=True)
class Finding:
    """What was found in a batch.

    ``symptom`` is the loss or the first gradient that is not finite, ``first`` the first place in the order of cause
    and effect, and ``finite`` what comes before it. ``parameter`` is the first parameter that is not finite, None if
    all are; ``non_finite_parameters`` counts the entries of all that are not, None if no parameter was seen.
    """

    symptom: Place
    first: Place
    finite: tuple[str, ...]
    parameter: Place | None
    non_finite_parameters: int | None


def locate(batch: Batch, params: Any, grads: Mapping[str, Array] | None = None) -> Finding | None:
    """The first place of a batch that is not finite; None if its loss and gradients are.

    "First" is in the order of cause and effect: see :func:`rnncallbacks.detectors.batch_arrays.causes`.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> batch = Batch(np.array([[1.0], [np.inf], [1.0]]), "train", 1, loss=np.nan)
    >>> print(locate(batch, params=None).first)
    what the loader yielded (1 of 3 entries)
    """
    symptom = _first(outcomes(batch, grads))
    if symptom is None:
        return None
    weights = list(whole("parameters", params))
    sick = [place for part in weights if (place := place_in(part)) is not None]
    finite: dict[str, None] = {}
    first = symptom
    for part in causes(batch, weights, grads):
        place = place_in(part)
        if place is not None:
            first = place
            break
        finite[part.source] = None
    return Finding(
        symptom=symptom,
        first=first,
        finite=tuple(source for source in finite if source != first.source),
        parameter=sick[0] if sick else None,
        non_finite_parameters=sum(place.non_finite for place in sick) if weights else None,
    )


def place_in(part: Part) -> Place | None:
    """Where a part is not finite; None if all of it is."""
    bad = ~np.isfinite(part.array)
    if not bad.any():
        return None
    row = rows = None
    if part.row_axis is not None:
        others = tuple(axis for axis in range(bad.ndim) if axis != part.row_axis)
        row, rows = int(np.argmax(bad.any(axis=others))) + 1, int(bad.shape[part.row_axis])
    return Place(
        source=part.source,
        path=part.path,
        non_finite=int(np.count_nonzero(bad)),
        entries=int(bad.size),
        time_step=part.time_step,
        seq_len=part.seq_len,
        row=row,
        rows=rows,
    )


def message_of(batch: Batch, finding: Finding, *, before_update: bool, kept: bool) -> str:
    """The finding in words.

    ``before_update`` says that this batch cannot have changed the parameters, ``kept`` that it will not.
    """
    symptom, first, known = finding.symptom, finding.first, finding.finite
    is_loss = symptom.source == "loss"
    message = f"the loss ({batch.loss})" if is_loss else symptom.words
    message += f" of batch {batch.index} of {batch.phase} is not finite"
    when = "was not finite before this batch" if before_update else "is not finite"
    if first.source == "parameters":
        return f"{message}; {first.words} {when} ({first.share})"
    joint = "; "
    if first.source == "gradients":
        message += f" ({first.share}); the loss ({batch.loss:.6g}) is, so the backward pass made it"
    elif first.source != "loss":
        joint = ", while "
        back = "going back through time, " if first.source == "hidden_gradients" else ""
        message += f"; {back}the first non-finite value is in {first}"
    elif "logits" in known:
        message += "; the logits are, so the loss function made it"
    elif "hidden_states" in known:
        message += "; the hidden states are, so it arose behind them"
    else:
        message += "; run.observe(hidden_states=..., logits=...) would show where it arose"
    if finding.parameter is not None:
        return f"{message}; {finding.parameter.words} {when}, too ({finding.parameter.share})"
    if finding.non_finite_parameters is None:
        return message
    return f"{message}{joint}the parameters are finite" + (" and have not been touched" if kept else "")


def evidence_of(batch: Batch, finding: Finding) -> dict[str, float | int | str]:
    """The finding in numbers; time step, row and parameters as far as they are known."""
    first = finding.first
    found: dict[str, float | int | str] = {
        "loss": math.nan if batch.loss is None else batch.loss,
        "batch": batch.index,
        "array": first.array,
        "non_finite": first.non_finite,
        "entries": first.entries,
    }
    if first.time_step is not None and first.seq_len is not None:
        found |= {"time_step": first.time_step, "time_steps": first.seq_len}
    if first.row is not None:
        found["row"] = first.row
    if finding.non_finite_parameters is not None:
        found["non_finite_parameters"] = finding.non_finite_parameters
    return found


def _first(parts: Iterable[Part]) -> Place | None:
    return next((place for part in parts if (place := place_in(part)) is not None), None)
