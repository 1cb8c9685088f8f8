r"""The denominator of a reported epoch loss: the count that explains why it is not the mean of the batch losses.

With the batch losses :math:`\ell_1, \dots, \ell_n` of an epoch and the reported loss :math:`r`, the denominator is
:math:`k = \sum_b \ell_b / r`. A mean has :math:`k = n`. A wrong denominator is another count with a name: the samples,
the tokens, the batches of another phase. A reported loss that no named count explains is not reported: it may be a
moving average, a median or a perplexity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import attrs

from rnncallbacks.detectors.loss.phase_losses import PhaseLosses

DenominatorKind: TypeAlias = Literal[
    "samples",
    "tokens",
    "undivided",
    "sequences",
    "steps",
    "vocabulary",
    "length alone",
    "each batch",
    "squared",
    "other phase",
    "both phases",
    "wrong phase",
    "off by one",
    "whole number",
]
"""The kind of count of a denominator.

"samples" and "tokens" are those of the epoch. "undivided" is 1. "sequences", "steps", "tokens" and "vocabulary" are the
number of batches times or over the batch size, the time steps, the tokens of a batch or the vocabulary size; "length
alone" is one of these without the number of batches. "each batch" weights each loss by a length of its batch. "squared"
is the squared number of batches. "other phase" is a count of another phase; "both phases" stands for a sum that has the
batch losses of another phase, too, and "wrong phase" for the mean of another phase. "off by one" is one batch more or
fewer, and "whole number" a count without a name.
"""

VALIDATION_NAMES = ("val", "dev", "test", "eval", "heldout", "held_out")
"""Beginnings of the names that phases have in which nothing is trained."""


@attrs.frozen(kw_only=True)
class DenominatorThresholds:
    """Tolerances of the agreement of a reported loss with a count."""

    match_tolerance: float = 5e-6
    """Largest relative difference between a denominator and a named count: rounding errors of sums in float32."""

    mean_tolerance: float = 5e-5
    """Largest relative difference between a reported loss and a mean of the batch losses: ten match tolerances."""

    whole_number_tolerance: float = 1e-3
    """Largest absolute difference between a denominator and a whole number without a name; chosen by eye."""

    whole_number_relative_tolerance: float = 5e-5
    """The same as a relative difference: ten match tolerances."""

    smallest_unnamed_multiple: int = 4
    """Smallest multiple of the batches that counts as the samples of batches of unknown size. The multiples 2 and 3 may
    be factors of a unit."""

    largest_rounding_error: float = 2e-3
    """Largest relative rounding error of a reported loss that is compared at all: one with fewer digits agrees with
    many counts by chance. Chosen by eye."""

    same_length_tolerance: float = 2e-3
    """Smallest relative effect of weighting each loss by a length of its batch that is distinguishable; chosen by
    eye."""

    largest_uniform_loss: float = 10.0
    """Largest plausible first mean loss in nats if the targets are unknown: that of a uniform prediction over
    e^10 = 22026 tokens."""

    sum_factor_share: float = 0.4
    """Batch losses count as sums over c terms if they exceed the expected mean loss more than max(sqrt(c), 0.4 c)
    times; chosen by eye."""


DENOMINATOR = DenominatorThresholds()


@attrs.frozen
class Denominator:
    """A count that explains a reported loss.

    Parameters
    ----------
    kind:
        The kind of count, one of ``DenominatorKind``.
    value:
        The sum of the batch losses divided by the reported loss.
    factor:
        ``value`` divided by the number of batches: the mean batch loss divided by the reported loss.
    name:
        The name of the count that ``factor`` or ``value`` equals.
    certain:
        False if the match could be chance; it is then reported once two epochs agree.
    """

    kind: DenominatorKind
    value: float
    factor: float
    name: str
    certain: bool = True

    def agrees(self, other: Denominator | None) -> bool:
        """Whether the denominator of another epoch is the same count."""
        if other is None or (self.kind, self.name) != (other.kind, other.name):
            return False
        return self.name != "a whole number" or self.value == other.value


def is_validation(phase: str) -> bool:
    """Whether a phase has the name of one in which nothing is trained."""
    return phase.startswith(VALIDATION_NAMES)


def is_batch_mean(reported: float, losses: PhaseLosses) -> bool:
    """Whether a reported loss is the mean of the batch losses, plain or weighted by sequences or by tokens."""
    sums = (losses.lengths[name] for name in ("sequences", "tokens"))
    weighted = [one.losses_times_length / one.total for one in sums if one.known_total]
    tolerance = max(DENOMINATOR.mean_tolerance, rounding_error(reported))
    return any(_near(reported, mean, tolerance) for mean in (losses.mean, *weighted))


def is_within_batch_losses(reported: float, losses: PhaseLosses) -> bool:
    """Whether a reported loss lies between the smallest and the largest batch loss, as means and medians do."""
    return losses.smallest <= reported <= losses.largest


def rounding_error(reported: float) -> float:
    """The largest relative error by which a number of up to six decimals was rounded; 0 for one of more decimals.

    Example
    -------
    >>> rounding_error(2.5), rounding_error(2.5123456789)
    (0.02, 0.0)
    """
    for decimals in range(7):
        if round(reported, decimals) == reported:
            return 0.5 * 10.0**-decimals / abs(reported)
    return 0.0


def find_denominator(
    reported: float,
    losses: PhaseLosses,
    *,
    phase: str = "train",
    vocab_size: int | None = None,
    other_phases: Mapping[str, PhaseLosses] | None = None,
) -> Denominator | None:
    """The count that explains a reported loss; None if it is a mean of the batch losses, or no count explains it.

    ``phase`` is the name of the reported phase, and ``other_phases`` are the other phases of the epoch, by name.

    Example
    -------
    >>> losses = PhaseLosses()
    >>> for loss in (1.5, 2.0, 1.75):
    ...     losses.add(loss, sequences=32)
    >>> found = find_denominator(1.75 / 32, losses)
    >>> found.kind, found.value, found.name
    ('samples', 96, 'the batch size')
    """
    if not losses.is_comparable or not 0.0 < reported < math.inf or is_batch_mean(reported, losses):
        return None
    value, tolerance = losses.total / reported, DENOMINATOR.match_tolerance
    if _is_another_unit(reported, losses.mean) or (losses.cut_short and _near(value, losses.expected or 1, tolerance)):
        return None
    named = list(_named_counts(losses, phase, vocab_size, other_phases or {}))
    for one in named:
        if _near(value, one.value, tolerance):
            return one
    error = rounding_error(reported)
    whole = _whole_number(value, losses) if error * value <= DENOMINATOR.whole_number_tolerance else None
    if whole is not None:
        return whole
    for one in named if error <= DENOMINATOR.largest_rounding_error else ():
        if _near(value, one.value, error):
            certain = "phase" not in one.kind and not is_within_batch_losses(reported, losses)
            return attrs.evolve(one, certain=certain)
    return None


def batch_losses_may_be_sums(found: Denominator, first_loss: float, uniform_loss: float | None) -> bool:
    """Whether the batch losses are probably sums over the denominator's count, so that the reported loss is a mean.

    ``uniform_loss`` is the mean loss of an untrained network: ln V, or the mean square of the targets; None if it is
    unknown. The first loss of a sum over c terms is about c times as large.
    """
    if found.factor <= 1.0 or found.kind not in ("samples", "tokens", "sequences", "steps", "each batch"):
        return False
    if uniform_loss is None:
        return first_loss > DENOMINATOR.largest_uniform_loss
    return is_sum_over(first_loss / uniform_loss, found.factor)


def is_sum_over(ratio: float, count: float) -> bool:
    """Whether losses that are ``ratio`` times a mean are probably a sum over ``count`` terms."""
    return ratio > max(math.sqrt(count), DENOMINATOR.sum_factor_share * count)


def _near(value: float, expected: float, tolerance: float) -> bool:
    return abs(value / expected - 1.0) <= tolerance


def _is_another_unit(reported: float, mean: float) -> bool:
    """Whether the reported loss is in bits or decimal digits in place of nats, or a perplexity."""
    units = [mean / math.log(2.0), mean / math.log(10.0), math.exp(min(mean, 700.0))]
    tolerance = max(DENOMINATOR.match_tolerance, rounding_error(reported))
    return any(_near(reported, unit, tolerance) for unit in units)


def _named_counts(
    losses: PhaseLosses, own_phase: str, vocab_size: int | None, other_phases: Mapping[str, PhaseLosses]
) -> Iterator[Denominator]:
    """The counts that have a name, the most frequent mistake first."""
    n, lengths = losses.batches, losses.lengths
    size, steps = lengths["sequences"].largest, lengths["steps"].largest
    samples, tokens = lengths["sequences"].known_total, lengths["tokens"].known_total
    if samples is not None and samples != n:
        name = "the batch size" if samples == n * size else "samples per batch"
        yield Denominator("samples", samples, samples / n, name)
    if tokens is not None and tokens != n:
        yield Denominator("tokens", tokens, tokens / n, "tokens per batch")
    if n > 1:
        yield Denominator("undivided", 1.0, 1.0 / n, "the number of batches")
    by_length: tuple[tuple[DenominatorKind, int, str], ...] = (
        ("sequences", size, "the batch size"),
        ("steps", steps, "the number of time steps"),
        ("tokens", size * steps, "the tokens of a batch"),
        ("vocabulary", vocab_size or 0, "the vocabulary size"),
    )
    for kind, length, name in by_length:
        if length > 1:
            yield Denominator(kind, float(n * length), float(length), name)
            if n != length:
                yield Denominator(kind, n / length, 1.0 / length, name)
                yield Denominator("length alone", float(length), length / n, name)
    for which, name in (("sequences", "its batch size"), ("steps", "its time steps"), ("tokens", "its tokens")):
        sums = lengths[which]
        for weighted in (sums.losses_times_length, sums.losses_over_length) if sums.complete else ():
            if not _near(weighted, losses.total, DENOMINATOR.same_length_tolerance):
                yield Denominator("each batch", n * losses.total / weighted, losses.total / weighted, name)
    if n > 2:
        yield Denominator("squared", float(n * n), float(n), "the number of batches")
    for phase, other in other_phases.items():
        for what, count in (("batches", other.batches), ("samples", other.lengths["sequences"].known_total)):
            if count and count != n:
                certain = abs(count - n) > 1
                yield Denominator("other phase", count, count / n, f"the {what} of {phase}", certain=certain)
    for phase, other in other_phases.items():
        for count in dict.fromkeys((n, other.batches, n + other.batches)):
            value = losses.total * count / (losses.total + other.total)
            name = f"the {other.batches} of {phase}, divided by {count}"
            yield Denominator("both phases", value, value / n, name, certain=False)
        if is_validation(phase) != is_validation(own_phase):
            value = losses.total / other.mean
            yield Denominator("wrong phase", value, value / n, phase, certain=False)


def _whole_number(value: float, losses: PhaseLosses) -> Denominator | None:
    """A whole number near the number of samples, one off the number of batches, or without a name."""
    n, size, count = losses.batches, losses.lengths["sequences"].largest, round(value)
    if count < 1 or count == n:
        return None
    tolerance = min(DENOMINATOR.whole_number_tolerance, DENOMINATOR.whole_number_relative_tolerance * count)
    if abs(value - count) > tolerance:
        return None
    planned = losses.expected if losses.cut_short and losses.expected is not None else n
    if size > 1 and (planned - 1) * size < count < (planned + 1) * size:
        # The length of a data set: its last batch is short or was left out.
        return Denominator("samples", float(count), count / n, "samples per batch")
    if losses.cut_short:
        return None
    if abs(count - n) == 1:
        name = "one too many" if count > n else "one too few"
        return Denominator("off by one", float(count), count / n, name, certain=False)
    multiple = count % n == 0 and count >= DENOMINATOR.smallest_unnamed_multiple * n
    if multiple and size <= 1 and not is_within_batch_losses(losses.total / count, losses):
        # The samples of batches of unknown size.
        return Denominator("samples", float(count), count / n, "a whole number", certain=False)
    # Another multiple of the batches, or a divisor of them, may be the factor of a unit.
    if max(count, n) % min(count, n) == 0:
        return None
    return Denominator("whole number", float(count), count / n, "a whole number", certain=False)
