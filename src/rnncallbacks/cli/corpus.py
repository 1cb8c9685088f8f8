"""The text that ``rnncallbacks train`` trains on, encoded and split."""

from __future__ import annotations

import hashlib
import math
import platform

import attrs

from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.errors import DataError
from rnncallbacks.rnn.data.ngram import ngram_loss
from rnncallbacks.rnn.data.splits import split
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text, read_text
from rnncallbacks.rnn.validation import IntArray

BASELINE_ORDERS = {"bigram model": 2, "trigram model": 3}


@attrs.frozen(eq=False)
class Corpus:
    """A text as character numbers: its training part, and its end, which is held out.

    The vocabulary is that of the whole text, so that every held-out character has a number. ``digest`` is the SHA-256
    of the text.
    """

    title: str
    digest: str
    vocabulary: Vocabulary
    train: IntArray
    held_out: IntArray

    @classmethod
    def from_settings(cls, settings: Settings) -> Corpus:
        """Read the text of the settings, or the text that comes with Python."""
        text = embedded_text() if settings.text is None else read_text(settings.text)
        title = f"help topics of Python {platform.python_version()}" if settings.text is None else str(settings.text)
        vocabulary = Vocabulary.from_tokens(text)
        try:
            train, held_out = split(vocabulary.encode(text), settings.held_out)
        except DataError as error:
            raise _too_short(title, error) from None
        return cls(title, hashlib.sha256(text.encode("utf-8")).hexdigest(), vocabulary, train, held_out)

    def __str__(self) -> str:
        size = len(self.train) + len(self.held_out)
        return (
            f"{self.title}: {size:,} characters, {len(self.vocabulary)} different; "
            f"the last {len(self.held_out):,} are held out"
        )

    @property
    def uniform_loss(self) -> float:
        """Loss of a model that gives every character the same probability, ln V, in nats per character."""
        return math.log(len(self.vocabulary))

    def loaders(self, batch_size: int, seq_len: int) -> tuple[StreamLoader, StreamLoader]:
        """Loaders of the training part and of the held-out part.

        Raises
        ------
        DataError
            The text is too short.
        """
        # Each row should be at least one chunk long, so a short held-out part is read in fewer rows.
        rows = min(batch_size, max(1, (len(self.held_out) - 1) // seq_len))
        try:
            return StreamLoader(self.train, batch_size, seq_len), StreamLoader(self.held_out, rows, seq_len)
        except DataError as error:
            raise _too_short(self.title, error) from None

    def baselines(self) -> dict[str, float]:
        """Losses of n-gram models on the held-out part, in nats per character.

        Raises
        ------
        DataError
            The text is too short.
        """
        try:
            return {
                name: ngram_loss(self.train, self.held_out, len(self.vocabulary), order)
                for name, order in BASELINE_ORDERS.items()
            }
        except DataError as error:
            raise _too_short(self.title, error) from None


def _too_short(title: str, error: DataError) -> DataError:
    return DataError(f"{title}: too short: {error.message}", hint=error.hint)
