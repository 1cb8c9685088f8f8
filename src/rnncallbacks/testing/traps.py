"""Healthy trainings that look like faulty ones to a guard that looks at one sign alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs
import numpy as np

from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import ArrayLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.testing import scripts
from rnncallbacks.testing.changes import setting
from rnncallbacks.testing.fault import LOOPS, SHUFFLED, Fault
from rnncallbacks.testing.setups import Arrays, Setup, healthy
from rnncallbacks.testing.tasks import BATCH_SIZE, SEQ_LEN, Changed, text_slice, token_chunks
from rnncallbacks.testing.training import run_setup


def _big_steps(setup: Setup) -> None:
    # The published recipe clips at 0.25: thirteen million weights bear steps of length five, these forty thousand one.
    setup.learning_rate, setup.max_norm, setup.hidden_size = 20.0, 0.05, 64
    generator = np.random.default_rng([setup.seed, 10])

    def weights(arrays: Arrays) -> None:
        for role in ("input", "output"):
            arrays[role][...] = generator.uniform(-0.1, 0.1, arrays[role].shape)

    setup.weights = weights


def _min_char_rnn(setup: Setup) -> None:
    setup.train = StreamLoader(text_slice(setup.seed, 25 * 300 + 1), 1, 25)
    setup.validation = StreamLoader(text_slice(setup.seed + 1, 25 * 10 + 1), 1, 25)
    setup.loss_factor = lambda batch: float(len(batch.inputs))
    setup.learning_rate, setup.epochs, setup.hidden_size, setup.max_norm = 0.1, 2, 64, None
    if setup.through == "plain_loop":
        setup.script = scripts.ClipsByValue
    else:
        setup.plugins["gradient_clipping"] = {"mode": "value", "max_norm": 5.0}
    smooth = float(np.log(setup.task.vocab_size) * 25)

    def report(losses: list[float], sizes: list[int]) -> float:
        nonlocal smooth
        for loss in losses:
            smooth = 0.999 * smooth + 0.001 * loss
        return smooth

    setup.report = report


def _moving_average_from_zero(setup: Setup) -> None:
    average = 0.0

    def report(losses: list[float], sizes: list[int]) -> float:
        nonlocal average
        for loss in losses:
            average = 0.995 * average + 0.005 * loss
        return average

    setup.report = report


def _short_chunks(setup: Setup) -> None:
    tokens = text_slice(setup.seed, 16 * 5 * 300 + 1)
    setup.train = StreamLoader(tokens, 16, 5, drop_last=True)
    setup.epochs = 1


def _noisy_labels(setup: Setup) -> None:
    generator = np.random.default_rng([setup.seed, 6])

    def noisy(batch: SequenceBatch) -> SequenceBatch:
        anything = generator.integers(setup.task.vocab_size, size=batch.targets.shape)
        return attrs.evolve(batch, targets=np.where(generator.random(anything.shape) < 0.3, anything, batch.targets))

    setup.train = Changed(setup.train, noisy)


def _ragged(setup: Setup) -> None:
    loader = token_chunks(text_slice(setup.seed, (30 * BATCH_SIZE + 5) * SEQ_LEN + 1), BATCH_SIZE, SEQ_LEN, setup.seed)
    setup.train = ArrayLoader(loader.inputs, loader.targets, BATCH_SIZE, seed=setup.seed)


def _pretrained(setup: Setup) -> None:
    before = healthy(setup.task.name, setup.cell, setup.optimizer, setup.seed, setup.through)
    _, network = run_setup(before, {})
    trained = {role: array.copy() for role, array in network.roles().items()}

    def weights(arrays: Arrays) -> None:
        for role, array in arrays.items():
            array[...] = trained[role]

    setup.weights = weights


def _heavy_tails(setup: Setup) -> None:
    generator = np.random.default_rng([setup.seed, 7])

    def outliers(batch: SequenceBatch) -> SequenceBatch:
        noise = 0.1 * generator.standard_t(2, size=batch.targets.shape)
        return attrs.evolve(batch, targets=(batch.targets + noise).astype(batch.targets.dtype))

    setup.train = Changed(setup.train, outliers)


def _trap(name: str, about: str, change: Callable[[Setup], None], **fields: object) -> Fault:
    return Fault(name=name, about=about, kind="trap", change=change, **fields)  # type: ignore[arg-type]


_ALL = (
    _trap("carried_stream", "a contiguous stream, and the state is carried", setting(), tasks=("stream",)),
    _trap(
        "encoder_decoder",
        "the last state of an encoder enters the decoder",
        setting(script=scripts.EncoderDecoder),
        tasks=("anbn",),
        through=LOOPS,
        optimizers=("adam", "rmsprop", "adagrad"),
    ),
    _trap(
        "learned_state",
        "the state that sequences begin with is a parameter",
        setting(script=scripts.LearnedState),
        tasks=SHUFFLED,
        through=LOOPS,
    ),
    _trap(
        "big_steps",
        "SGD at 20, clipped at 0.05, which is nearly every batch: the steps are as long as those of a rate of 2",
        _big_steps,
        tasks=("words",),
        cells=("tanh",),
        optimizers=("sgd",),
    ),
    _trap(
        "long_plateau",
        "no progress for three hundred epochs of two batches, then it comes by itself",
        setting(),
        tasks=("parity",),
        cells=("tanh",),
        optimizers=("sgd",),
    ),
    _trap(
        "min_char_rnn",
        "one row, summed loss, Adagrad, clipped by value, a smoothed loss on display",
        _min_char_rnn,
        tasks=("stream",),
        cells=("tanh",),
        optimizers=("adagrad",),
    ),
    _trap("regression", "the squared error of a real regression", setting(), tasks=("waves",)),
    _trap("heavy_tails", "a regression with outliers", _heavy_tails, tasks=("waves",)),
    _trap(
        "no_clipping",
        "nothing clips, and nothing explodes",
        setting(max_norm=None),
        tasks=("characters", "stream", "echo"),
        cells=("tanh",),
    ),
    _trap(
        "rising_average", "the logged loss is a moving average that begins at zero and rises", _moving_average_from_zero
    ),
    _trap("short_chunks", "backpropagation through time truncated to five steps", _short_chunks, tasks=("stream",)),
    _trap("noisy_labels", "three labels in ten are random", _noisy_labels, tasks=("characters", "echo")),
    _trap("ragged", "the last batch is short", _ragged, tasks=("characters",)),
    _trap("one_sequence", "one sentence per batch", setting(), tasks=("anbn_single",)),
    _trap("pretrained", "it begins where another training ended", _pretrained),
    _trap("warmup", "the learning rate rises over fifty batches", setting(plugins={"warmup": {"steps": 50}})),
    _trap("one_cycle", "the learning rate rises and falls", setting(plugins={"one_cycle": {"steps": 300}})),
    _trap(
        "noisy_inputs",
        "a tenth of the inputs dropped, anew each time",
        setting(script=scripts.NoisyInputs),
        tasks=("characters", "stream"),
        through=LOOPS,
    ),
    _trap("frozen_input", "input weights kept as they are on purpose", setting(frozen=("input",))),
    _trap(
        "nested_validation",
        "validation within training batches",
        setting(script=scripts.NestedValidation),
        through=LOOPS,
    ),
    _trap(
        "returns_new",
        "the update makes new arrays and tells the run",
        setting(script=scripts.ReturnsNew),
        through=LOOPS,
    ),
    _trap(
        "stale_params",
        "the update makes new arrays and does not tell the run",
        setting(script=scripts.StaleParams),
        through=LOOPS,
    ),
)

TRAPS: Mapping[str, Fault] = MappingProxyType({trap.name: trap for trap in _ALL})
"""Healthy trainings that guards must leave alone, by name."""
