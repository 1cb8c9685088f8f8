"""Traps: healthy training runs that show a symptom of a fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs
import numpy as np

from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import ArrayLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.testing.custom_loop_variants import (
    ClipByValue,
    EncoderDecoder,
    InputDropout,
    LearnedInitialState,
    NestedValidation,
    NewArrays,
    UnannouncedArrays,
)
from rnncallbacks.testing.fault import CUSTOM_LOOPS, SHUFFLED, Fault
from rnncallbacks.testing.run_setup import run_setup
from rnncallbacks.testing.setup_changes import set_fields
from rnncallbacks.testing.setups import Arrays, Setup, healthy
from rnncallbacks.testing.tasks import BATCH_SIZE, SEQ_LEN, MappedLoader, text_slice, token_chunks


def _big_steps(setup: Setup) -> None:
    # The published recipe clips at 0.25, for 13 million weights. These 40,000 weights take shorter steps.
    setup.learning_rate, setup.max_norm, setup.hidden_size = 20.0, 0.05, 64
    generator = np.random.default_rng([setup.seed, 10])

    def weights(arrays: Arrays) -> None:
        for role in ("input", "output"):
            arrays[role][...] = generator.uniform(-0.1, 0.1, arrays[role].shape)

    setup.change_weights = weights


def _min_char_rnn(setup: Setup) -> None:
    setup.train = StreamLoader(text_slice(setup.seed, 25 * 300 + 1), 1, 25)
    setup.validation = StreamLoader(text_slice(setup.seed + 1, 25 * 10 + 1), 1, 25)
    setup.loss_factor = lambda batch: float(len(batch.inputs))
    setup.learning_rate, setup.epochs, setup.hidden_size, setup.max_norm = 0.1, 2, 64, None
    if setup.loop == "plain_loop":
        setup.custom_loop = ClipByValue
    else:
        setup.plugins["gradient_clipping"] = {"mode": "value", "max_norm": 5.0}
    setup.report = _moving_average(start=float(np.log(setup.task.vocab_size) * 25), weight=0.001)


def _moving_average_from_zero(setup: Setup) -> None:
    setup.report = _moving_average(start=0.0, weight=0.005)


def _moving_average(start: float, weight: float) -> Callable[[list[float], list[int]], float]:
    """Reports an exponential moving average over the batch losses of all epochs."""
    average = start

    def report(losses: list[float], sizes: list[int]) -> float:
        nonlocal average
        for loss in losses:
            average = (1.0 - weight) * average + weight * loss
        return average

    return report


def _short_chunks(setup: Setup) -> None:
    tokens = text_slice(setup.seed, 16 * 5 * 300 + 1)
    setup.train = StreamLoader(tokens, 16, 5, drop_last=True)
    setup.epochs = 1


def _noisy_labels(setup: Setup) -> None:
    generator = np.random.default_rng([setup.seed, 6])

    def noisy(batch: SequenceBatch) -> SequenceBatch:
        anything = generator.integers(setup.task.vocab_size, size=batch.targets.shape)
        return attrs.evolve(batch, targets=np.where(generator.random(anything.shape) < 0.3, anything, batch.targets))

    setup.train = MappedLoader(setup.train, noisy)


def _ragged(setup: Setup) -> None:
    loader = token_chunks(text_slice(setup.seed, (30 * BATCH_SIZE + 5) * SEQ_LEN + 1), setup.seed)
    setup.train = ArrayLoader(loader.inputs, loader.targets, BATCH_SIZE, seed=setup.seed)


def _pretrained(setup: Setup) -> None:
    before = healthy(setup.task.name, setup.cell, setup.optimizer, setup.seed, setup.loop)
    _, network = run_setup(before, {})
    trained = {role: array.copy() for role, array in network.roles().items()}

    def weights(arrays: Arrays) -> None:
        for role, array in arrays.items():
            array[...] = trained[role]

    setup.change_weights = weights


def _heavy_tails(setup: Setup) -> None:
    generator = np.random.default_rng([setup.seed, 7])

    def outliers(batch: SequenceBatch) -> SequenceBatch:
        noise = 0.1 * generator.standard_t(2, size=batch.targets.shape)
        return attrs.evolve(batch, targets=(batch.targets + noise).astype(batch.targets.dtype))

    setup.train = MappedLoader(setup.train, outliers)


def _trap(name: str, about: str, change: Callable[[Setup], None], **fields: object) -> Fault:
    return Fault(name=name, about=about, kind="trap", change=change, **fields)  # type: ignore[arg-type]


_ALL = (
    _trap("carried_stream", "contiguous batches, and the hidden state is carried", set_fields(), tasks=("stream",)),
    _trap(
        "encoder_decoder",
        "the last state of an encoder is the initial state of the decoder",
        set_fields(custom_loop=EncoderDecoder),
        tasks=("anbn",),
        loops=CUSTOM_LOOPS,
        optimizers=("adam", "rmsprop", "adagrad"),
    ),
    _trap(
        "learned_state",
        "the initial state of each sequence is a parameter",
        set_fields(custom_loop=LearnedInitialState),
        tasks=SHUFFLED,
        loops=CUSTOM_LOOPS,
    ),
    _trap(
        "big_steps",
        "SGD at learning rate 20, clipped at 0.05 in nearly every batch: each step is as long as at a rate of 2",
        _big_steps,
        tasks=("words",),
        cells=("tanh",),
        optimizers=("sgd",),
    ),
    _trap(
        "long_plateau",
        "a plateau of 300 epochs of two batches, before the loss falls",
        set_fields(),
        tasks=("parity",),
        cells=("tanh",),
        optimizers=("sgd",),
    ),
    _trap(
        "min_char_rnn",
        "one sequence per batch, summed loss, Adagrad, clipping by value, smoothed loss logged",
        _min_char_rnn,
        tasks=("stream",),
        cells=("tanh",),
        optimizers=("adagrad",),
    ),
    _trap("regression", "squared error of a real regression", set_fields(), tasks=("waves",)),
    _trap("heavy_tails", "regression with outliers", _heavy_tails, tasks=("waves",)),
    _trap(
        "no_clipping",
        "no clipping, and no explosion",
        set_fields(max_norm=None),
        tasks=("characters", "stream", "echo"),
        cells=("tanh",),
    ),
    _trap(
        "rising_average", "the logged loss is a moving average that starts at zero and rises", _moving_average_from_zero
    ),
    _trap("short_chunks", "backpropagation through time truncated to five steps", _short_chunks, tasks=("stream",)),
    _trap("noisy_labels", "30 % of the labels are random", _noisy_labels, tasks=("characters", "echo")),
    _trap("ragged", "the last batch is smaller", _ragged, tasks=("characters",)),
    _trap("one_sequence", "one sentence per batch", set_fields(), tasks=("anbn_single",)),
    _trap("pretrained", "the initial weights come from an earlier run", _pretrained),
    _trap("warmup", "the learning rate rises over 50 batches", set_fields(plugins={"warmup": {"steps": 50}})),
    _trap("one_cycle", "the learning rate rises and falls", set_fields(plugins={"one_cycle": {"steps": 300}})),
    _trap(
        "noisy_inputs",
        "input dropout with probability 0.1",
        set_fields(custom_loop=InputDropout),
        tasks=("characters", "stream"),
        loops=CUSTOM_LOOPS,
    ),
    _trap("frozen_input", "input weights that are deliberately frozen", set_fields(frozen=("input",))),
    _trap(
        "nested_validation",
        "validation inside training batches",
        set_fields(custom_loop=NestedValidation),
        loops=CUSTOM_LOOPS,
    ),
    _trap(
        "returns_new",
        "the update makes new arrays and assigns them to `run.params`",
        set_fields(custom_loop=NewArrays),
        loops=CUSTOM_LOOPS,
    ),
    _trap(
        "stale_params",
        "the update makes new arrays and the run keeps the initial ones",
        set_fields(custom_loop=UnannouncedArrays),
        loops=CUSTOM_LOOPS,
    ),
)

TRAPS: Mapping[str, Fault] = MappingProxyType({trap.name: trap for trap in _ALL})
"""Healthy runs in which a guard must raise no alarm, by name."""
