r"""What a loss is, told from its size: a mean negative log-likelihood, a sum of it, or a squared error.

A network with all parameters at zero gives each of V tokens the probability 1/V. Its mean negative log-likelihood is
exactly :math:`\ln V` whatever the data, a sum over n positions :math:`n \ln V`, and squared errors between
probabilities and one-hot targets have exact values too. The first loss of an untrained network is about as large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import attrs
import numpy as np

from rnncallbacks.arrays import Array

EXACT = 2e-4
"""Relative; single precision is better than that."""

NEAR = 1.35
"""The first loss of an untrained network, beside what a network at zero loses: at most so many times more or less."""

TOO_LARGE = 1.5
"""A first loss from which on the weights are too large; scripts that train well begin at up to 1.3."""

WIDEST = 4
"""A vocabulary is at most so many times as large as the largest token of some batches."""


@attrs.frozen
class Vocabulary:
    """How many tokens there are: exactly, or at least as many as were seen."""

    size: int
    exact: bool

    def may_be(self, size: float) -> bool:
        """Whether there may be so many tokens."""
        if abs(size - round(size)) > max(EXACT * size, 1e-3) or round(size) < 2:
            return False
        if self.exact:
            return round(size) == self.size
        return self.size <= round(size) <= WIDEST * self.size


@attrs.frozen
class LossKind:
    """What a loss is.

    ``kind``: "mean", "sum" over ``count`` positions, of which ``over`` says what they are; "squared error"; "unclear".
    ``vocab_size`` is the number of tokens that makes it so.
    """

    kind: Literal["mean", "sum", "squared error", "unclear"]
    vocab_size: int
    count: float = 1.0
    over: str = ""


def vocabulary_of(targets: Array, one_hot: int | None, before: Vocabulary | None = None) -> Vocabulary | None:
    """The vocabulary of integer targets, with what earlier batches showed of it; None if nothing can be said.

    Example
    -------
    >>> vocabulary_of(np.array([[1, 3, 0]]), None)
    Vocabulary(size=4, exact=False)
    """
    if one_hot is not None:
        return Vocabulary(one_hot, True)
    if targets.dtype.kind not in "iu" or not targets.size or targets.max() < 1:
        return before
    size = int(targets.max()) + 1
    return Vocabulary(size if before is None else max(size, before.size), False)


def kind_at_zero(loss: float, vocabulary: Vocabulary, counts: Mapping[str, float]) -> LossKind:
    """What a loss is that was evaluated with all parameters at zero.

    ``counts`` are the numbers over which it may be summed, by name.

    Example
    -------
    >>> vocabulary = Vocabulary(4, True)
    >>> kind_at_zero(math.log(4), vocabulary, {"time steps": 20}).kind
    'mean'
    >>> kind_at_zero(20 * math.log(4), vocabulary, {"time steps": 20})
    LossKind(kind='sum', vocab_size=4, count=20, over='time steps')
    >>> kind_at_zero(3 / 16, vocabulary, {"time steps": 20}).kind
    'squared error'
    """
    found: list[LossKind] = []
    for over, count in {"": 1.0, **counts}.items():
        for factor in (1.0, math.log(2)):  # nats or bits
            each = loss * factor / count
            if 0.0 < each < 700.0 and vocabulary.may_be(math.exp(each)):
                found.append(LossKind("sum" if over else "mean", round(math.exp(each)), count, over))
    if found:  # a sum of 2 ln 2 is a mean of ln 4: the vocabulary that was seen decides
        return min(found, key=lambda one: one.vocab_size - vocabulary.size)
    widest = vocabulary.size if vocabulary.exact else WIDEST * vocabulary.size
    for size in range(max(vocabulary.size, 2), widest + 1):
        for value in squared_errors(size, counts):
            if math.isclose(loss, value, rel_tol=EXACT if vocabulary.exact else EXACT / widest):
                return LossKind("squared error", size)
    return LossKind("unclear", vocabulary.size)


def kind_at_first(losses: list[float], vocabulary: Vocabulary, counts: Mapping[str, float]) -> LossKind:
    """What a loss is whose first values are these, as an untrained network's loss is near that of one at zero.

    Example
    -------
    >>> kind_at_first([27.3, 26.0], Vocabulary(4, True), {"time steps": 20, "sequences": 16}).over
    'time steps'
    """
    size, uniform = vocabulary.size, math.log(vocabulary.size)
    ratio = losses[0] / uniform
    if 1 / NEAR < ratio < NEAR:
        return LossKind("mean", size)
    if ratio > NEAR:
        sums = {over: count for over, count in counts.items() if count > 2.5 and 1 / NEAR < ratio / count < NEAR}
        if sums:
            over = min(sums, key=lambda name: abs(math.log(ratio / sums[name])))
            return LossKind("sum", size, sums[over], over)
        return LossKind("unclear", size)
    # A network that comes trained begins low as well, but not at one of these values, again and again.
    for value in squared_errors(size, {}):
        if all(math.isclose(loss, value, rel_tol=0.1) for loss in losses):
            return LossKind("squared error", size)
    return LossKind("unclear", size)


def squared_errors(size: int, counts: Mapping[str, float]) -> Iterator[float]:
    r"""Squared errors between outputs and a one-hot target, as scripts have them.

    Of probabilities 1/V: a sum over the vocabulary, :math:`1 - 1/V`, or a mean over it, :math:`(V - 1)/V^2`. Of outputs
    that are zero: 1, or 1/V. Half of each; and a mean over positions or a sum.
    """
    for each in ((size - 1) / size, (size - 1) / size**2, 1.0, 1.0 / size):
        for half in (1.0, 0.5):
            yield each * half
            for count in counts.values():
                if count > 1:
                    yield each * half * count


def counts_of(shape: tuple[int, ...], time_axis: int | None, targets: Array, tokens: int | None) -> dict[str, float]:
    """The numbers of positions that a loss may be summed over, by name; each number once.

    ``shape`` is that of the inputs: time and batch, in the order that ``time_axis`` tells. ``tokens`` is how many
    targets count; None: those that are not negative.

    Example
    -------
    >>> counts_of((3, 2), 0, np.array([[0, 1], [1, 2], [2, -1]]), None)
    {'time steps': 3, 'sequences': 2, 'time steps and sequences': 6, 'tokens': 5, 'tokens of a sequence': 2.5}
    """
    names = ["positions along the first axis", "positions along the second axis"]
    if time_axis is not None:
        names[time_axis], names[1 - time_axis] = "time steps", "sequences"
    counted = tokens or int(np.count_nonzero(targets >= 0))
    named: dict[str, float] = dict(zip(names, shape, strict=False))
    named |= {"time steps and sequences": shape[0] * shape[1], "tokens": counted}
    if time_axis is not None:
        named["tokens of a sequence"] = counted / shape[1 - time_axis]
    by_value: dict[float, str] = {}
    for name, count in named.items():
        by_value.setdefault(count, name)
    return {name: count for count, name in by_value.items() if count > 1}
