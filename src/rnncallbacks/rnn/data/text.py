"""Text and token numbers: reading, vocabularies, and a text that comes with Python."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.errors import DataError, OptionError, closest
from rnncallbacks.rnn.validation import as_tokens, check_count


def _as_tuple(tokens: Iterable[str]) -> tuple[str, ...]:
    return tuple(tokens)


@attrs.frozen
class Vocabulary:
    """The tokens of a language, numbered by their position in ``tokens``.

    A token is a string: a character, a word, or a mark such as ``"EOS"``. For tokens that are characters, methods also
    accept a ``str``.

    Parameters
    ----------
    tokens:
        The tokens, all different.
    unknown:
        The token, one of ``tokens``, that replaces all other strings. None: other strings are errors.

    Raises
    ------
    DataError
        There is no token, a token appears twice or is not a string, or ``unknown`` is not among them.

    Example
    -------
    >>> vocabulary = Vocabulary.from_tokens("hello")
    >>> vocabulary.tokens
    ('l', 'e', 'h', 'o')
    >>> vocabulary.encode("hole")
    array([2, 3, 0, 1])
    >>> "".join(vocabulary.decode([2, 3, 0, 1]))
    'hole'

    The fields are plain values, so a vocabulary can be stored as JSON:

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
        """The vocabulary of a text, the most frequent token first. Equally frequent ones are in alphabetical order.

        ``unknown`` becomes token 0. ``max_size`` limits the size, including the unknown token; the rarest tokens are
        left out.

        Raises
        ------
        DataError
            ``tokens`` is empty.
        OptionError
            ``max_size`` is below 1, or leaves out tokens although ``unknown`` is None.

        Example
        -------
        >>> Vocabulary.from_tokens("a rose is a rose".split(), max_size=3, unknown="<unk>").tokens
        ('<unk>', 'a', 'rose')
        """
        counts = Counter(tokens)
        if not counts:
            raise DataError("vocabulary: the text has no token")
        special = [] if unknown is None else [unknown]
        ranked = sorted(counts.keys() - special, key=lambda token: (-counts[token], token))
        if max_size is not None:
            available = check_count("max_size", max_size) - len(special)
            if unknown is None and len(ranked) > available:
                raise OptionError(
                    f"max_size: {max_size} leaves out {len(ranked) - available} of {len(ranked)} tokens, "
                    "and no unknown token replaces them",
                    hint='name one: unknown="<unk>"',
                )
            ranked = ranked[:available]
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
            A token is not in the vocabulary, and ``unknown`` is None.
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
                hint=closest(token, self.tokens)
                or "build the vocabulary from the whole text, or choose an unknown token",
            ) from None

    def decode(self, numbers: npt.ArrayLike) -> list[str]:
        """The token of each number. Join characters with ``"".join`` and words with ``" ".join``.

        Raises
        ------
        DataError
            A number is negative, not an integer, or not below the size of the vocabulary.
        ShapeError
            ``numbers`` does not have exactly one axis.
        """
        array = as_tokens("numbers", numbers)
        if array.size and array.max() >= len(self):
            position = int(np.argmax(array >= len(self)))
            raise DataError(
                f"numbers: expected token numbers below {len(self)}, the size of the vocabulary, "
                f"got {array[position]} at {position}"
            )
        return [self.tokens[number] for number in array.tolist()]


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file. All line ends become ``"\\n"``.

    Raises
    ------
    DataError
        The file does not exist, is a directory, cannot be read, has no text, or is not UTF-8.
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
    """The help topics of the running Python: about 465,000 characters of English in 3.11, more in later versions.

    It is the text of ``help("topics")``, from ``pydoc_data.topics``, so nothing is downloaded.

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
            hint="train on your own text file",
        ) from None
    return "\n".join(topics.values())
