"""The position of a run within its epoch, for checkpoints."""

from __future__ import annotations

from typing import Any

import attrs

from rnncallbacks import options
from rnncallbacks.core.history import Value


@attrs.frozen(kw_only=True)
class PassPosition:
    """The position of one pass of ``run.batches`` over a loader.

    Attributes
    ----------
    phase:
        The phase of the pass.
    batches:
        The number of batches that the script has finished.
    finished:
        Whether the pass is over: the loader had no further batch, or the script left the loop.
    state:
        The state of the script's generators and objects after these batches.
    """

    phase: str
    batches: int = attrs.field(validator=options.count(at_least=0))
    finished: bool
    state: dict[str, Any]


@attrs.frozen(kw_only=True)
class Position:
    """The position of a run.

    Attributes
    ----------
    in_epoch:
        Whether the epoch is open. If it is not, ``passes`` and the columns are empty.
    state:
        The state of the script's generators and objects: where the open epoch began, or now if none is open.
    loaders:
        By phase, the state of the loaders that have one.
    passes:
        The passes of the open epoch in the order in which they began; those inside of batches are not among them.
    losses, logged, batches:
        Those of the summary of the open epoch.
    seconds:
        Wall time since the open epoch began.
    """

    in_epoch: bool
    state: dict[str, Any]
    loaders: dict[str, Any]
    passes: list[PassPosition] = attrs.field(factory=list)
    losses: dict[str, float] = attrs.field(factory=dict)
    logged: dict[str, Value] = attrs.field(factory=dict)
    batches: dict[str, int] = attrs.field(factory=dict)
    seconds: float = attrs.field(default=0.0, validator=options.number(at_least=0))
