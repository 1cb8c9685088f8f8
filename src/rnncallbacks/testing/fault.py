"""The type of faults and traps: a change to a healthy setup, the codes that name it, and where it applies."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal

import attrs

from rnncallbacks.testing.setups import ADAPTIVE, CELLS, GATED, LOOPS, OPTIMIZERS, UNLEARNED, LoopKind, Setup

SHUFFLED = ("characters", "echo", "anbn")
TOKEN_TASKS = (*SHUFFLED, "stream")
ALL_TASKS = (*TOKEN_TASKS, "anbn_single")


def _no_change(setup: Setup) -> None:
    """Leaves the setup healthy."""


@attrs.frozen(kw_only=True)
class Fault:
    """A fault, or a healthy run that may show symptoms of one.

    Parameters
    ----------
    name:
        Key in ``FAULTS`` or ``TRAPS``.
    about:
        One line that describes the script.
    codes:
        Alarm codes that name the fault. The first is the exact code, any other is accepted. Empty for a healthy run.
    kind:
        "fault", "healthy" or "trap".
    change:
        Function that puts the fault into a setup, in place.
    tasks, cells, optimizers, loops:
        The combinations to which it applies. Loops in which it cannot occur are left out.
    always_harms:
        Whether it counts as harmful even if the network's loss is not worse. It is for wrong reports, which mislead
        their reader, and for loops that hide their work from the run. Any other fault is harmful if the network's loss
        is worse, see :func:`~rnncallbacks.testing.scoring.harmful`.

    Example
    -------
    >>> def freeze(setup):
    ...     setup.update = "none"
    >>> Fault(name="update_forgotten", about="no update", codes=("RNN503",), change=freeze).kind
    'fault'
    """

    name: str
    about: str
    codes: tuple[str, ...] = ()
    kind: Literal["fault", "healthy", "trap"] = "fault"
    change: Callable[[Setup], None] = _no_change
    tasks: tuple[str, ...] = TOKEN_TASKS
    cells: tuple[str, ...] = CELLS
    optimizers: tuple[str, ...] = OPTIMIZERS
    loops: tuple[LoopKind, ...] = LOOPS
    always_harms: bool = False

    def combinations(self, loop: LoopKind) -> list[tuple[str, str, str]]:
        """Every (task, cell, optimizer) to which it applies in this loop.

        Combinations in which a healthy network hardly learns are left out. A fault of all simple cells also
        applies to LSTM and GRU in the trainer, with adaptive optimizers.
        """
        every = [one for one in product(self.tasks, self.cells, self.optimizers) if one not in UNLEARNED]
        if loop == "trainer" and self.cells == CELLS:
            every += product(self.tasks, GATED, [one for one in self.optimizers if one in ADAPTIVE])
        return every


HEALTHY = Fault(name="healthy", about="no fault", kind="healthy", tasks=ALL_TASKS)

CUSTOM_LOOPS: tuple[LoopKind, ...] = ("loop", "plain_loop")
