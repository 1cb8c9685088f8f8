r"""What a reported epoch loss was divided by: the count that explains the difference from the mean of the batch losses.

With :math:`\ell_1, \dots, \ell_n` the losses of an epoch's batches and :math:`r` what was reported, the divisor is
:math:`k = \sum_b \ell_b / r`. It is n for a mean. A wrong count shows as another whole number that has a name: the
samples, the tokens, the batches of another phase. A value that no named count explains is left alone: a moving average,
a median or a perplexity is no wrong mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import attrs

from rnncallbacks.core.plugin_state import state_field

PRECISION = 5e-6
"""How near, relatively, a divisor must lie to a count: sums in float32 are no nearer."""

WHOLE = 1e-3
"""How near a divisor must lie to a whole number that has no other evidence in its favour."""

LEAST_SIZE = 4
"""A multiple of the batches is taken for samples of which nothing is known from so many a batch on: 2 and 3 may be the
factor of another unit."""

FAINT = 2e-3
"""What rounding may take from a reported number; one of fewer digits proves nothing."""

LARGEST_MEAN_NLL = 10.0
"""The loss of an even guess among e^10 = 22026 tokens: a first loss above it is rather a sum."""


LENGTHS = ("sequences", "steps", "tokens")


@attrs.frozen
class Lengths:
    """Sums over the batches of a length that each has: of the losses times it, over it, and of it alone.

    They are worth something only if each batch said its length (``known``). ``most`` is the greatest.
    """

    times: float = 0.0
    over: float = 0.0
    count: int = 0
    most: int = 0
    known: bool = True

    @property
    def total(self) -> int | None:
        """The lengths of all batches together, if each said its own."""
        return self.count if self.known and self.count else None


@attrs.define(eq=False)
class PhaseLosses:
    """The batch losses of one pass over a phase's batches, as sums.

    ``expected`` is the number of batches that the loader has, if it knows it.
    """

    expected: int | None = None
    batches: int = state_field(0)
    total: float = state_field(0.0)
    least: float = state_field(math.inf)
    largest: float = state_field(-math.inf)
    gap: bool = state_field(False)
    spoiled: bool = state_field(False)
    # The losses of all batches of one size, and how many these are: batches have few sizes, and this is done in each.
    _sizes: dict[tuple[int | None, ...], tuple[float, int]] = state_field(factory=dict)

    def add(
        self, loss: float | None, *, sequences: int | None = None, steps: int | None = None, tokens: int | None = None
    ) -> None:
        """Take a batch in, with what is known of its sequences, the time steps of each, and the tokens that count.

        A loss that is not above 0 spoils the pass for judging, and so does none at all unless it is the last.
        """
        if loss is None:
            self.gap = True
            return
        self.batches += 1
        if self.gap or not 0.0 < loss < math.inf:
            self.spoiled = True
            return
        self.total += loss
        if loss < self.least:
            self.least = loss
        if loss > self.largest:
            self.largest = loss
        size = (sequences, steps, tokens)
        losses, count = self._sizes.get(size, (0.0, 0))
        self._sizes[size] = losses + loss, count + 1

    @property
    def lengths(self) -> dict[str, Lengths]:
        """What is known of each length of ``LENGTHS``."""
        found = {}
        for place, name in enumerate(LENGTHS):
            some = [(size[place], losses, count) for size, (losses, count) in self._sizes.items()]
            told = [(length, losses, count) for length, losses, count in some if length is not None]
            found[name] = Lengths(
                times=sum(losses * length for length, losses, _ in told),
                over=sum(losses / length for length, losses, _ in told),
                count=sum(length * count for length, _, count in told),
                most=max((length for length, _, _ in told), default=0),
                known=len(told) == len(some),
            )
        return found

    @property
    def mean(self) -> float:
        """The mean of the batch losses."""
        return self.total / self.batches

    @property
    def cut_short(self) -> bool:
        """Whether the loader had more batches than were seen."""
        return self.expected is not None and self.batches < self.expected

    @property
    def can_be_judged(self) -> bool:
        return self.batches > 0 and not self.spoiled


@attrs.frozen
class Divisor:
    """What explains a reported loss.

    ``divisor`` is the sum of the batch losses over the reported one, and ``factor`` by how much the report is too
    small: ``divisor`` over the number of batches. ``kind`` says which count it is, and ``words`` what the factor is.
    What is not ``certain`` could be chance, and wants a second epoch that agrees.
    """

    kind: str
    divisor: float
    factor: float
    words: str
    certain: bool = True

    def agrees(self, other: Divisor | None) -> bool:
        """Whether another epoch's explanation is the same one."""
        if other is None or (self.kind, self.words) != (other.kind, other.words):
            return False
        return self.words != "a whole number" or self.divisor == other.divisor


def is_right(reported: float, seen: PhaseLosses) -> bool:
    """Whether a report is a mean of the batch losses: by batch, by sequence or by token."""
    lengths = (seen.lengths[name] for name in ("sequences", "tokens"))
    weighted = [one.times / one.count for one in lengths if one.total]
    means = [seen.mean, *weighted]
    return any(_near(reported, mean, max(10 * PRECISION, rounding(reported))) for mean in means)


def is_within(reported: float, seen: PhaseLosses) -> bool:
    """Whether a report lies among the batch losses, as the median and each weighted mean of them do."""
    return seen.least <= reported <= seen.largest


def rounding(reported: float) -> float:
    """The relative error that rounding leaves in a number of few decimals, 0 if it has many.

    Example
    -------
    >>> rounding(2.5), rounding(2.5123456789)
    (0.02, 0.0)
    """
    for decimals in range(7):
        if round(reported, decimals) == reported:
            return 0.5 * 10.0**-decimals / abs(reported)
    return 0.0


def explain(
    reported: float,
    seen: PhaseLosses,
    *,
    vocab_size: int | None = None,
    others: Mapping[str, PhaseLosses] | None = None,
) -> Divisor | None:
    """The count that explains a reported loss which is not right; None if there is none.

    ``others`` are the other phases of the epoch, by name.

    Example
    -------
    >>> seen = PhaseLosses()
    >>> for loss in (1.5, 2.0, 1.75):
    ...     seen.add(loss, sequences=32)
    >>> found = explain(1.75 / 32, seen)
    >>> found.kind, found.divisor, found.words
    ('samples', 96, 'the batch size')
    """
    if not seen.can_be_judged or not 0.0 < reported < math.inf or is_right(reported, seen):
        return None
    divisor = seen.total / reported
    if _is_another_unit(reported, seen.mean) or (seen.cut_short and _near(divisor, seen.expected or 1, PRECISION)):
        return None
    named = list(_named(seen, vocab_size, others or {}))
    for one in named:
        if _near(divisor, one.divisor, PRECISION):
            return one
    slack = rounding(reported)
    whole = _whole(divisor, seen) if slack * divisor <= WHOLE else None
    if whole is not None:
        return whole
    for one in named if slack <= FAINT else ():
        if _near(divisor, one.divisor, slack):
            return attrs.evolve(one, certain=one.kind != "other phase" and not is_within(reported, seen))
    return None


def may_be_a_sum(found: Divisor, first_loss: float, uninformed: float | None) -> bool:
    """Whether the batch losses look as if they were sums, which the reported loss turns into means.

    ``uninformed`` is the mean loss of a network that knows nothing: ln V, or the mean square of the targets. A sum over
    c of them begins at c times that.
    """
    if found.factor <= 1.0 or found.kind not in ("samples", "tokens", "sequences", "steps", "each"):
        return False
    if uninformed is None:
        return first_loss > LARGEST_MEAN_NLL
    return first_loss / uninformed > max(math.sqrt(found.factor), 0.4 * found.factor)


def describe(phase: str, reported: float, seen: PhaseLosses, found: Divisor) -> str:
    """The arithmetic of a finding, in words."""
    n, mean, total = seen.batches, f"{seen.mean:.4g}", f"{seen.total:.4g}"
    divisor, batches = f"{found.divisor:.10g}", f"{n} batches" if n > 1 else "1 batch"
    your = f"your {phase}_loss {reported:.4g} is"
    match found.kind:
        case "undivided":
            return f"{your} the sum of the batch losses, {n} times their mean {mean}: divide it by the {batches}"
        case "alone" | "other phase" | "neighbour" | "whole":
            words = f", {found.words}" if found.kind != "whole" else ""
            return (
                f"{your} the sum of the batch losses, {total}, divided by {divisor}{words}: "
                f"divide it by the {batches} of {phase}"
            )
        case "each":
            what = "divided by" if found.factor > 1.0 else "multiplied by"
            return f"{your} the batch mean {mean} with each loss {what} {found.words}: average the batch losses alone"
        case "twice":
            return f"{your} the batch mean {mean} divided by the number of batches, {n}, once more: divide once"
    if found.factor < 1.0:
        times = f"{1.0 / found.factor:.6g}, {found.words}"
        return f"{your} the batch mean {mean} times {times}: divide the sum of the batch losses by the {batches} alone"
    of_what = {"samples": " samples", "tokens": " tokens"}.get(found.kind, "")
    return (
        f"{your} the batch mean {mean} divided by {found.factor:.6g}, {found.words}: "
        f"divide by the {batches}, not by {'the ' if of_what else ''}{divisor}{of_what}"
    )


def _near(value: float, expected: float, slack: float) -> bool:
    return abs(value / expected - 1.0) <= slack


def _is_another_unit(reported: float, mean: float) -> bool:
    """Perplexity, or bits in place of nats."""
    units = [mean / math.log(2.0), mean / math.log(10.0), math.exp(min(mean, 700.0))]
    return any(_near(reported, unit, max(PRECISION, rounding(reported))) for unit in units)


def _named(seen: PhaseLosses, vocab_size: int | None, others: Mapping[str, PhaseLosses]) -> Iterator[Divisor]:
    """The counts that have a name, those first that are most often taken for the number of batches."""
    n, size, steps = seen.batches, seen.lengths["sequences"].most, seen.lengths["steps"].most
    samples, tokens = (seen.lengths[name].total for name in ("sequences", "tokens"))
    if samples is not None and samples != n:
        yield Divisor("samples", samples, samples / n, "the batch size" if samples == n * size else "samples a batch")
    if tokens is not None and tokens != n:
        yield Divisor("tokens", tokens, tokens / n, "tokens a batch")
    if n > 1:
        yield Divisor("undivided", 1.0, 1.0 / n, "the number of batches")
    for kind, length, words in (
        ("sequences", size, "the batch size"),
        ("steps", steps, "the number of time steps"),
        ("tokens", size * steps, "the tokens of a batch"),
        ("vocabulary", vocab_size or 0, "the size of the vocabulary"),
    ):
        if length > 1:
            yield Divisor(kind, float(n * length), float(length), words)
            if n != length:
                yield Divisor(kind, n / length, 1.0 / length, words)
                yield Divisor("alone", float(length), length / n, words)
    for name, words in (("sequences", "its batch size"), ("steps", "its time steps"), ("tokens", "its tokens")):
        one = seen.lengths[name]
        for changed in (one.times, one.over) if one.known else ():
            if not _near(changed, seen.total, FAINT):
                yield Divisor("each", n * seen.total / changed, seen.total / changed, words)
    if n > 2:
        yield Divisor("twice", float(n * n), float(n), "the number of batches")
    for phase, other in others.items():
        for what, count in (("batches", other.batches), ("samples", other.lengths["sequences"].total)):
            if count and count != n:
                far = abs(count - n) > 1
                yield Divisor("other phase", count, count / n, f"the number of {what} of {phase}", certain=far)


def _whole(divisor: float, seen: PhaseLosses) -> Divisor | None:
    """A whole number near the number of samples, off by one from the number of batches, or without any name."""
    n, size, near = seen.batches, seen.lengths["sequences"].most, round(divisor)
    if near < 1 or near == n or abs(divisor - near) > min(WHOLE, 10 * PRECISION * near):
        return None
    whole = seen.expected if seen.cut_short and seen.expected is not None else n
    if size > 1 and (whole - 1) * size < near < (whole + 1) * size:
        # A data set's length: its last batch is short, or the samples that would have filled one were left out.
        return Divisor("samples", float(near), near / n, "samples a batch")
    if seen.cut_short:
        return None
    if abs(near - n) == 1:
        return Divisor(
            "neighbour", float(near), near / n, f"one {'more' if near > n else 'fewer'} than there are", certain=False
        )
    if near % n == 0 and near >= LEAST_SIZE * n and size <= 1 and not is_within(seen.total / near, seen):
        # So many samples in each batch, of which the run was told nothing.
        return Divisor("samples", float(near), near / n, "a whole number", certain=False)
    # Else a multiple of the batches, or they of it, may be the factor of another unit.
    if max(near, n) % min(near, n) == 0:
        return None
    return Divisor("whole", float(near), near / n, "a whole number", certain=False)
