"""From text to token numbers: reading, tokenising, vocabularies, and a text that every Python brings along."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.errors import DataError, OptionError, closest
from rnncallbacks.rnn.checks import as_tokens, check_count

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")

Tokens = TypeVar("Tokens", str, list[Any], npt.NDArray[Any])


def _as_tuple(tokens: Iterable[str]) -> tuple[str, ...]:
    return tuple(tokens)


@attrs.frozen
class Vocabulary:
    """Which tokens there are, and the number of each: its position in ``tokens``.

    A token is a string: a character, a word, a mark such as ``"EOS"``. A text is a sequence of characters, so a
    ``str`` may be given wherever characters are meant.

    Parameters
    ----------
    tokens:
        The tokens, no two alike.
    unknown:
        The token, one of ``tokens``, that stands for every string that is not; None: such strings are errors.

    Raises
    ------
    DataError
        There is no token, one appears twice or is no string, or ``unknown`` is not among them.

    Example
    -------
    >>> vocabulary = Vocabulary.from_tokens("hello")
    >>> vocabulary.tokens
    ('l', 'e', 'h', 'o')
    >>> vocabulary.encode("hole")
    array([2, 3, 0, 1])
    >>> "".join(vocabulary.decode([2, 3, 0, 1]))
    'hole'

    Its fields are plain values, so it can be stored as JSON:

    >>> Vocabulary(**attrs.asdict(vocabulary)) == vocabulary
    True
    """

    tokens: tuple[str, ...] = attrs.field(converter=_as_tuple)
    unknown: str | None = None

    def __attrs_post_init__(self) -> None:
        if not self.tokens:
            raise DataError("vocabulary: expected at least one token, got none")
        for token, count in Counter(self.tokens).items():
            if not isinstance(token, str):
                raise DataError(f"vocabulary: expected strings, got {token!r}, a {type(token).__name__}")
            if count > 1:
                raise DataError(f"vocabulary: token {token!r} appears {count} times")
        if self.unknown is not None and self.unknown not in self._numbers:
            raise DataError(
                f"vocabulary: the unknown token {self.unknown!r} is not among the {len(self)} tokens",
                hint="Vocabulary.from_tokens adds it",
            )

    @classmethod
    def from_tokens(
        cls, tokens: Iterable[str], *, max_size: int | None = None, unknown: str | None = None
    ) -> Vocabulary:
        """The vocabulary of a text: the most frequent token first, equally frequent ones by their characters.

        ``unknown``, if given, becomes token 0. ``max_size`` bounds the size, the unknown token included, by leaving out
        the rarest tokens.

        Raises
        ------
        DataError
            ``tokens`` is empty.
        OptionError
            ``max_size`` is below 1, or leaves tokens out while there is no ``unknown`` to stand for them.

        Example
        -------
        >>> Vocabulary.from_tokens(words("a rose is a rose"), max_size=3, unknown="<unk>").tokens
        ('<unk>', 'a', 'rose')
        """
        counts = Counter(tokens)
        if not counts:
            raise DataError("vocabulary: the text has no token")
        special = [] if unknown is None else [unknown]
        ranked = sorted(counts.keys() - special, key=lambda token: (-counts[token], token))
        if max_size is not None:
            room = check_count("max_size", max_size) - len(special)
            if unknown is None and len(ranked) > room:
                raise OptionError(
                    f"max_size: {max_size} leaves out {len(ranked) - room} of {len(ranked)} tokens, and no token "
                    "stands for them",
                    hint='name one: unknown="<unk>"',
                )
            ranked = ranked[:room]
        return cls((*special, *ranked), unknown=unknown)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, tokens: Iterable[str]) -> npt.NDArray[np.intp]:
        """The number of each token, shape (count,).

        Raises
        ------
        DataError
            A token is not in the vocabulary, and there is no ``unknown``; the message names it and its position.
        """
        numbers = self._numbers
        if self.unknown is not None:
            other = numbers[self.unknown]
            return np.fromiter((numbers.get(token, other) for token in tokens), dtype=np.intp)
        sequence = tokens if isinstance(tokens, (str, list, tuple)) else list(tokens)
        try:
            return np.fromiter(map(numbers.__getitem__, sequence), dtype=np.intp, count=len(sequence))
        except KeyError:
            position, token = next(pair for pair in enumerate(sequence) if pair[1] not in numbers)
            raise DataError(
                f"token {token!r} at position {position} is not in the vocabulary of {len(self)} tokens",
                hint=closest(token, self.tokens) or "build the vocabulary from all of the text, or give it an unknown",
            ) from None

    def decode(self, numbers: npt.ArrayLike) -> list[str]:
        """The token of each number; join characters with ``"".join`` and words with ``" ".join``.

        Raises
        ------
        DataError
            A number is negative, no integer, or not below the size of the vocabulary.
        ShapeError
            ``numbers`` has another number of axes than one.
        """
        array = as_tokens("numbers", numbers)
        if array.size and array.max() >= len(self):
            position = int(np.argmax(array >= len(self)))
            raise DataError(
                f"numbers: expected token numbers below {len(self)}, the size of the vocabulary, "
                f"got {array[position]} at {position}"
            )
        return [self.tokens[number] for number in array.tolist()]


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, in order; white space is dropped, case is kept.

    Example
    -------
    >>> words("Don't panic: it's 42.")
    ["Don't", 'panic', ':', "it's", '42', '.']
    """
    return _WORD.findall(text)


def split(tokens: Tokens, held_out: float = 0.1) -> tuple[Tokens, Tokens]:
    """The first part of a text for training, and its last fraction ``held_out`` for validation.

    Slices, not copies, where ``tokens`` is an array.

    Raises
    ------
    OptionError
        ``held_out`` is not between 0 and 1.
    DataError
        One of the two parts would be empty.

    Example
    -------
    >>> split("0123456789", held_out=0.2)
    ('01234567', '89')
    """
    if not 0.0 < held_out < 1.0:
        raise OptionError(f"held_out: expected a fraction between 0 and 1, got {held_out!r}")
    cut = len(tokens) - round(held_out * len(tokens))
    if not 0 < cut < len(tokens):
        raise DataError(f"{len(tokens)} tokens cannot be split with held_out {held_out}: one part would be empty")
    return tokens[:cut], tokens[cut:]


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, with ``"\\n"`` as the end of each line.

    Raises
    ------
    DataError
        The file is missing, a directory, cannot be read, or is empty; or it is not UTF-8, and the message says at
        which byte.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: there is no such file", hint=closest(path.name, siblings)) from None
    except IsADirectoryError:
        raise DataError(f"{path}: expected a text file, got a directory") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    try:
        text = data[mark:].decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + mark
        raise DataError(
            f"{path}: expected UTF-8 text, got byte 0x{data[offset]:02x} at offset {offset}: {error.reason}",
            hint="save the file as UTF-8",
        ) from None
    if not text.strip():
        raise DataError(f"{path}: the file has no text: {len(data)} bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def embedded_text() -> str:
    """The help topics of the running Python: about 465,000 characters of English in 3.11, a little more in later ones.

    They are what ``help("topics")`` shows, from ``pydoc_data.topics``, so nothing is downloaded. The text depends on
    the version of Python.

    Raises
    ------
    DataError
        This Python was installed without its help topics.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "the embedded text is missing: this Python was installed without pydoc_data.topics",
            hint="train on a text file of your own",
        ) from None
    return "\n".join(topics.values())
