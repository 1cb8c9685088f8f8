"""The options of ``rnncallbacks doctor`` for scripts without a ``Run``: roles, limits of time and batches, seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from rnncallbacks.doctor.roles.given_roles import GivenRoles
from rnncallbacks.doctor.script_examination import ExaminationOptions
from rnncallbacks.doctor.script_link import can_fork

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
ROLE_HELP = {
    "loop": "The training loop, as FILE:LINE or LINE.",
    "loss": "The loss, such as loss or 'loss_of():return[0]'.",
    "params": "The parameters: expressions or containers, separated by commas.",
    "grads": "The gradients: expressions or containers, separated by commas.",
    "inputs": "The inputs of a batch.",
    "targets": "The targets of a batch.",
    "state": "The hidden state, or the sequence of states: expressions, separated by commas.",
}
ROLES = (*ROLE_HELP, "batch_axis")
"""Options that name values of the script, as the command gets them."""
LOOP_BATCHES = 80
"""Iterations of a script's own loop that are examined."""


@attrs.frozen
class LoopOptions:
    """The options for a script without a ``Run``."""

    examination: ExaminationOptions
    seeds: int


def role_options(command: Decorated) -> Decorated:
    """Give a command the options; the command gets them as keyword arguments of :func:`loop_options`."""
    made = [
        click.option(
            "--seconds",
            type=click.FloatRange(min=1.0),
            default=60.0,
            show_default=True,
            metavar="NUMBER",
            help="Time limit of the examination.",
        ),
        click.option(
            "--show-roles", "roles_only", is_flag=True, help="Print the roles of the values, without a diagnosis."
        ),
        *(click.option(f"--{name}", default="", metavar="NAME", help=text) for name, text in ROLE_HELP.items()),
        click.option("--batch-axis", type=int, default=None, help="Axis of the inputs whose index is the sequence."),
        click.option(
            "--seeds",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            metavar="INTEGER",
            help="Number of seeds with which an unseeded script is run; a cause must be found with each.",
        ),
        click.option(
            "--output",
            type=click.Path(path_type=Path, dir_okay=False, writable=True),
            metavar="FILE",
            help="Write what the script prints to FILE.",
        ),
        click.option(
            "--no-fork",
            is_flag=True,
            help="Replay iterations by running the script again from its start, as on Windows; do not fork it.",
        ),
        click.option(
            "--no-replay", is_flag=True, help="Replay no iterations: no closure, and roles inferred from names."
        ),
    ]
    for option in reversed(made):
        command = option(command)
    return command


def loop_options(batches: int | None, given: dict[str, Any]) -> LoopOptions:
    """The options from their values on the command line."""
    roles = GivenRoles(
        loss=given["loss"],
        params=_listed(given["params"]),
        grads=_listed(given["grads"]),
        inputs=given["inputs"],
        targets=given["targets"],
        state=_listed(given["state"]),
        batch_axis=given["batch_axis"],
    )
    examination = ExaminationOptions(
        max_batches=batches or LOOP_BATCHES,
        seconds=given["seconds"],
        roles_only=given["roles_only"],
        output=given["output"],
        loop=given["loop"],
        given=roles,
        fork=can_fork() and not given["no_fork"],
        replay=not given["no_replay"],
    )
    return LoopOptions(examination, given["seeds"])


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
