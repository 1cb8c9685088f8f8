"""The type of faults and traps of the independent scripts: the changed settings, the codes, and the combinations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal, TypeAlias, get_args

import attrs

from rnncallbacks.testing.independent.independent_script import EvidenceLevel, Style
from rnncallbacks.testing.independent.independent_tasks import INDEPENDENT_TASKS, IndependentTask
from rnncallbacks.testing.independent.independent_updates import OptimizerName
from rnncallbacks.testing.independent.knobs import Knobs
from rnncallbacks.testing.independent.styled_network import CellName

Split: TypeAlias = Literal["tune", "report"]
"""Thresholds may be set on "tune". Single cases of "report" must not be inspected."""
STYLES: dict[Split, tuple[Style, ...]] = {"tune": ("lists",), "report": ("rows", "single")}
LEVELS: tuple[EvidenceLevel, ...] = get_args(EvidenceLevel)

Combination: TypeAlias = tuple[Style, str, CellName, OptimizerName]
"""Style, task, cell and optimizer."""


def everywhere(task: IndependentTask) -> bool:
    """Every task."""
    return True


def with_classes(task: IndependentTask) -> bool:
    """Tasks whose targets are classes."""
    return task.kind == "classes"


def with_next_tokens(task: IndependentTask) -> bool:
    """Tasks whose targets are the next tokens."""
    return task.next_token


@attrs.frozen(kw_only=True)
class IndependentFault:
    """A change to a healthy independent script.

    Attributes
    ----------
    name:
        Its name.
    about:
        One line that describes the script.
    codes:
        Codes that name it; the first is the exact one, the others are acceptable. Empty for a healthy run.
    knobs:
        The settings that differ from a healthy script.
    tasks:
        Whether it applies to a task.
    styles, cells, optimizers, levels:
        The other combinations to which it applies. Adaptive optimizers undo a constant factor of the gradient, which
        is then harmless.
    always_harms:
        Whether it is harmful by definition: a wrong report misleads, although the network is unchanged.
    """

    name: str
    about: str
    codes: tuple[str, ...] = ()
    knobs: Knobs = attrs.field(factory=Knobs)
    tasks: Callable[[IndependentTask], bool] = everywhere
    styles: tuple[Style, ...] = get_args(Style)
    cells: tuple[CellName, ...] = get_args(CellName)
    optimizers: tuple[OptimizerName, ...] = get_args(OptimizerName)
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
