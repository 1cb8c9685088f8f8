"""Runs on which a plugin is tried, and their outcomes, which are compared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np

from rnncallbacks import options
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.config.discovery import find_own_plugin
from rnncallbacks.core.plugin_state import saved_state
from rnncallbacks.core.run import Run
from rnncallbacks.errors import PluginError, RnnCallbacksError, one_line
from rnncallbacks.testing.kit.playing import play

HOW_TO = "docs/how-to/test-a-plugin.md"
LOSSES = [[2.0, 1.5, 1.75, 1.25], [1.0, 1.125, 0.875, 0.75], [0.75, 0.5, 0.625, 0.5]]
"""Losses of three epochs, which fall and do not fall from batch to batch."""
VALIDATION = [[1.75, 1.5], [1.25, 1.0], [1.125, 1.25]]
EPOCHS = len(LOSSES)
SHOWN_LENGTH = 40
"""Characters that are shown of a value that differs."""


@attrs.frozen
class PluginProblem:
    """The finding of a check, and the change that it asks for."""

    check: str
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.check}: {self.message}; {self.advice} ({HOW_TO}#{self.check.replace(' ', '-')})"


@attrs.frozen
class TrialOutcome:
    """The end of a run: what it left, or the error that it ended with."""

    run: Run | None
    error: BaseException | None

    @property
    def fault(self) -> str:
        """The error in one line; empty if there is none, or if it is one of the library's that tells a user what to do.

        A :class:`~rnncallbacks.errors.PluginError` tells the author.
        """
        error = self.error
        for_users = isinstance(error, RnnCallbacksError) and not isinstance(error, PluginError)
        return "" if error is None or for_users else one_line(error)

    @property
    def facts(self) -> dict[str, str]:
        """Position, parameters, history, diagnosis and the state of the plugin, as text in which each bit counts."""
        run = self.run
        if run is None:
            return {"error": "" if self.error is None else one_line(self.error)}
        found: dict[str, Any] = {"position": [run.epoch, run.step, run.stop_reason], "scales": run.scales}
        columns = dict.fromkeys(name for row in run.history for name in row if name != "seconds")
        found |= {f"column {name}": [row.get(name) for row in run.history] for name in columns}
        found |= {"alarms": run.diagnosis.to_dict()}
        found |= {f"params {name}": array.tolist() for name, array in named_arrays(run.params).items()}
        found |= {f"state {name}": value for name, value in saved_state(run.plugins.get("plugin")).items()}
        return {name: as_text(value) for name, value in found.items()}


@attrs.frozen
class Trial:
    """A plugin that is tried.

    Attributes
    ----------
    make:
        A function without arguments that makes the plugin.
    budget_us:
        The time that the plugin may take for a batch, in microseconds; None for no limit.
    batches:
        The number of batches of the longest run.
    """

    make: Callable[[], object]
    budget_us: float | None = attrs.field(validator=attrs.validators.optional(options.number()))
    batches: int = attrs.field(validator=options.count())

    def play(self, *others: object, plugin: object = None, **arguments: Any) -> TrialOutcome:
        """Play losses to the plugin, a new one unless it is given, and to others listed after it.

        The run has what plugins may need: columns of losses, and a hidden state.
        """
        plugins = {"plugin": self.make() if plugin is None else plugin}
        plugins["loss_averaging"] = find_own_plugin("loss_averaging").load()()
        plugins |= {f"other{number}": other for number, other in enumerate(others)}
        defaults: dict[str, Any] = {"losses": LOSSES, "validation": VALIDATION, "epochs": EPOCHS, "hidden_size": 2}
        return outcome_of(lambda: play(plugins, **(defaults | arguments)))


def outcome_of(run: Callable[[], Run]) -> TrialOutcome:
    """Call a function that makes a run, without a word in the log."""
    with quiet(), np.errstate(all="ignore"):
        try:
            return TrialOutcome(run(), None)
        except BaseException as error:  # KeyboardInterrupt, too: the checks raise it, with a text
            if isinstance(error, KeyboardInterrupt) and not error.args:
                raise  # Ctrl-C of the author
            return TrialOutcome(None, error)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's log silent."""
    logger = logging.getLogger("rnncallbacks")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled


def as_text(value: object) -> str:
    """A value as text: equal for equal values, whatever order sets have, and whichever objects hold them."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.tolist()}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(as_text, value)))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{as_text(key)}: {as_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_text, value))}]"
    if attrs.has(type(value)):
        return f"{type(value).__name__}{as_text(saved_state(value) or attrs.asdict(value, recurse=False))}"  # type: ignore[arg-type]
    return repr(value) if isinstance(value, int | float | str | bytes | type(None)) else type(value).__name__


def difference(one: TrialOutcome, other: TrialOutcome) -> str:
    """The first thing that differs between two runs, in words; empty if nothing does."""
    first, second = one.facts, other.facts
    for name in {**first, **second}:
        if first.get(name) != second.get(name):
            texts = first.get(name, "missing"), second.get(name, "missing")
            pairs = enumerate(zip(*texts, strict=False))
            same = next((place for place, (one_letter, other_letter) in pairs if one_letter != other_letter), 0)
            return f"{name} is {_item(texts[0], same)} and {_item(texts[1], same)}"
    return ""


def _item(text: str, place: int) -> str:
    """The item of a list or dict that has this place in its text, or the beginning of a text."""
    if place < SHOWN_LENGTH:
        return text[:SHOWN_LENGTH].strip()
    start = text.rfind(",", 0, place) + 1
    end = min((found for mark in ",]}" if (found := text.find(mark, place + 1)) >= 0), default=len(text))
    return text[start : min(end, start + SHOWN_LENGTH)].strip()
