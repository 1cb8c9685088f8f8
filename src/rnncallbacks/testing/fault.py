"""What a fault is: a change to a healthy training, the codes that name it, and where it applies."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal

import attrs

from rnncallbacks.testing.setups import ADAPTIVE, CELLS, GATED, OPTIMIZERS, THROUGH, UNLEARNED, Setup, Through

SHUFFLED = ("characters", "echo", "anbn")
TOKEN_TASKS = (*SHUFFLED, "stream")
ALL_TASKS = (*TOKEN_TASKS, "anbn_single")


def _nothing(setup: Setup) -> None:
    """The training stays healthy."""


@attrs.frozen(kw_only=True)
class Fault:
    """Something wrong with a training, or a healthy training that may look wrong.

    Parameters
    ----------
    name:
        Its name.
    about:
        What the script does, in words.
    codes:
        The codes that name it; the first one exactly, the others acceptably. None for what is healthy.
    kind:
        "fault", "healthy" or "trap".
    change:
        Puts it into a setup.
    tasks, cells, optimizers, through:
        Where it applies. A loop in which it cannot happen is left out.
    always_harms:
        It harms by definition: whoever reads a wrong report is misled, and what a loop does behind the run's back
        cannot be watched. All else harms if the network ends worse.

    Example
    -------
    A fault of one's own, for a guard of one's own:

    >>> def freeze(setup):
    ...     setup.update = "none"
    >>> Fault(name="update_forgotten", about="no update", codes=("RNN503",), change=freeze).kind
    'fault'
    """

    name: str
    about: str
    codes: tuple[str, ...] = ()
    kind: Literal["fault", "healthy", "trap"] = "fault"
    change: Callable[[Setup], None] = _nothing
    tasks: tuple[str, ...] = TOKEN_TASKS
    cells: tuple[str, ...] = CELLS
    optimizers: tuple[str, ...] = OPTIMIZERS
    through: tuple[Through, ...] = THROUGH
    always_harms: bool = False

    def combinations(self, through: Through) -> list[tuple[str, str, str]]:
        """Task, cell and optimizer wherever it applies, but where a healthy training learns nothing to speak of.

        What happens to any cell happens in the trainer to LSTMs and GRUs too.
        """
        every = [one for one in product(self.tasks, self.cells, self.optimizers) if one not in UNLEARNED]
        if through == "trainer" and self.cells == CELLS:
            every += product(self.tasks, GATED, [one for one in self.optimizers if one in ADAPTIVE])
        return every


HEALTHY = Fault(name="healthy", about="nothing is wrong", kind="healthy", tasks=ALL_TASKS)

LOOPS: tuple[Through, ...] = ("loop", "plain_loop")
