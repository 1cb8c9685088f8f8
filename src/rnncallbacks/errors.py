"""The exceptions of the library. The message states the expected and the given value, the hint the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class RnnCallbacksError(Exception):
    """The base class of all exceptions of the library.

    Attributes
    ----------
    message:
        The expected value, the given value, and the place.
    hint:
        The remedy, or the empty string. It is printed on a second line.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class RunStateError(RnnCallbacksError, RuntimeError):
    """A call at the wrong place: a backward pass in a validation phase, or any call after the end of the run."""


class ContainerError(RnnCallbacksError, TypeError):
    """Parameters, gradients or a state in an unusable container, dtype or structure."""


class LossError(RnnCallbacksError, TypeError):
    """A loss that is not one real number."""


class ShapeError(RnnCallbacksError, ValueError):
    """Two shapes that do not match; the message names both."""


class DataError(RnnCallbacksError, ValueError):
    """Inputs, targets or columns that are empty, missing, outside the vocabulary or not finite."""


class OptionError(RnnCallbacksError, ValueError):
    """An argument or option outside its range."""


class PluginError(RnnCallbacksError, TypeError):
    """An object that cannot serve as a plugin, or a plugin that could not be loaded."""


class ConfigurationError(RnnCallbacksError, ValueError):
    """All problems of one configuration, one on each line.

    Attributes
    ----------
    problems:
        The problems as a list.
    """

    def __init__(self, problems: Sequence[str], *, hint: str = "") -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems), hint=hint)


class CheckpointError(RnnCallbacksError, ValueError):
    """A checkpoint that cannot be read, or that belongs to another run."""


class FileInUseError(RnnCallbacksError, RuntimeError):
    """A file that another run writes now."""


class RankError(RnnCallbacksError, RuntimeError):
    """A rank of a run of several processes failed, ended early or is somewhere else in the run than the others.

    Attributes
    ----------
    is_reported:
        Whether another rank reports the cause, so that this one ends without a message.
    """

    def __init__(self, message: str, *, hint: str = "", is_reported: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.is_reported = is_reported


class SandboxError(RnnCallbacksError, PermissionError):
    """A script that ``rnncallbacks doctor`` runs tried to reach the network, another process or the user's files."""


def closest(word: str, known: Iterable[str]) -> str:
    """The hint "did you mean ...?" with the known word closest to ``word``, or the empty string. Case is ignored.

    >>> closest("max_nrom", ["max_norm", "mode"]), closest("LSTM", ["gru", "lstm"])
    ("did you mean 'max_norm'?", "did you mean 'lstm'?")
    """
    words = {one.lower(): one for one in sorted(known, reverse=True)}
    matches = difflib.get_close_matches(word.lower(), sorted(words), n=1, cutoff=0.6)
    return f"did you mean {words[matches[0]]!r}?" if matches else ""


def short_repr(value: object, longest: int = 200) -> str:
    """The value as Python writes it, cut to ``longest`` characters.

    Example
    -------
    >>> short_repr("a word"), short_repr([1] * 100, longest=12)
    ("'a word'", '[1, 1, 1, 1,...')
    """
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python writes
        text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= longest else f"{text[:longest]}..."


def one_line(error: BaseException) -> str:
    """The message of an error on one line, followed by its hint.

    Example
    -------
    >>> one_line(OptionError("expected a number above 0, got -1", hint="1e-3 is usual"))
    'expected a number above 0, got -1; 1e-3 is usual'
    """
    if isinstance(error, RnnCallbacksError):
        text = f"{error.message}; {error.hint}" if error.hint else error.message
    elif isinstance(error, (ValueError, TypeError)) and error.args and isinstance(error.args[0], str):
        # The validators of attrs have the field, the validator and the value as further arguments.
        text = error.args[0]
    else:
        text = f"{type(error).__name__}: {error}"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
