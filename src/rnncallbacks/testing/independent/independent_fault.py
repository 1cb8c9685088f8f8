"""A fault or a trap of the independent scripts: what differs, the codes that name it, and where it applies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal, TypeAlias, get_args

import attrs

from rnncallbacks.testing.independent.independent_script import EvidenceLevel, Style
from rnncallbacks.testing.independent.independent_tasks import INDEPENDENT_TASKS, IndependentTask
from rnncallbacks.testing.independent.independent_updates import Optimizer
from rnncallbacks.testing.independent.knobs import Knobs
from rnncallbacks.testing.independent.styled_network import GatedCell

Split: TypeAlias = Literal["tune", "report"]
"""Thresholds may be set on "tune". What is measured on "report" must not be looked at in detail."""
STYLES: dict[Split, tuple[Style, ...]] = {"tune": ("lists",), "report": ("rows", "single")}
LEVELS: tuple[EvidenceLevel, ...] = get_args(EvidenceLevel)

Combination: TypeAlias = tuple[Style, str, GatedCell, Optimizer]
"""Style, task, cell and optimizer."""


def everywhere(task: IndependentTask) -> bool:
    """Every task."""
    return True


@attrs.frozen(kw_only=True)
class IndependentFault:
    """A change to a healthy independent script.

    Attributes
    ----------
    name:
        Its name.
    about:
        What the script does, in one line.
    codes:
        Codes that name it; the first is the exact one, the others are acceptable. Empty for a healthy run.
    knobs:
        What differs from a healthy script.
    tasks:
        Whether it applies to a task.
    styles, cells, optimizers, levels:
        Where else it applies. Adaptive optimizers undo a constant factor of the gradient, which then does no harm.
    always_harms:
        Whether it does harm by definition: a wrong report misleads, and leaves the network as it is.
    """

    name: str
    about: str
    codes: tuple[str, ...] = ()
    knobs: Knobs = attrs.field(factory=Knobs)
    tasks: Callable[[IndependentTask], bool] = everywhere
    styles: tuple[Style, ...] = get_args(Style)
    cells: tuple[GatedCell, ...] = get_args(GatedCell)
    optimizers: tuple[Optimizer, ...] = get_args(Optimizer)
    levels: tuple[EvidenceLevel, ...] = LEVELS
    always_harms: bool = False

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with the script."""
        return not self.codes

    def combinations(self, split: Split) -> Iterator[Combination]:
        """Each style, task, cell and optimizer of a split to which it applies."""
        styles = [style for style in STYLES[split] if style in self.styles]
        tasks = [
            name
            for name, task in INDEPENDENT_TASKS.items()
            if task.for_tuning == (split == "tune") and self.tasks(task)
        ]
        yield from product(styles, tasks, self.cells, self.optimizers)
