"""Every error that the library raises on purpose. Each says what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class RnnCallbacksError(Exception):
    """The root of the tree: catch this to catch every error of the library.

    ``hint`` says what to do about it; it is printed on a line of its own behind the message.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class RunStateError(RnnCallbacksError, RuntimeError):
    """A call that does not belong where it was made: a backward pass in validation, a run after its end."""


class ContainerError(RnnCallbacksError, TypeError):
    """Parameters, gradients or a state in a container, of a dtype, or with a structure that cannot be used."""


class LossError(RnnCallbacksError, TypeError):
    """A loss that is not one number."""


class ShapeError(RnnCallbacksError, ValueError):
    """Two shapes that do not belong together; the message names both."""


class DataError(RnnCallbacksError, ValueError):
    """Inputs or targets that cannot be trained on: empty, out of the vocabulary, not finite."""


class OptionError(RnnCallbacksError, ValueError):
    """A setting outside its range."""


class PluginError(RnnCallbacksError, TypeError):
    """An object that cannot serve as a plugin, or a plugin that could not be loaded."""


class ConfigurationError(RnnCallbacksError, ValueError):
    """All problems of one configuration, each on a line of its own.

    ``problems`` holds them one by one.
    """

    def __init__(self, problems: Sequence[str], *, hint: str = "") -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems), hint=hint)


class CheckpointError(RnnCallbacksError, ValueError):
    """A checkpoint that cannot be read, or that belongs to another run."""


def closest(word: str, known: Iterable[str]) -> str:
    """A question naming the known word nearest to ``word``, or the empty string.

    >>> closest("max_nrom", ["max_norm", "mode"])
    "did you mean 'max_norm'?"
    """
    matches = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {matches[0]!r}?" if matches else ""
