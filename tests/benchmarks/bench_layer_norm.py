"""The effect of layer normalization: the validation loss of character models with and without it, in nats.

python tests/benchmarks/bench_layer_norm.py

trains networks of 64 units on the text that comes with Python, with Adam and gradient clipping to the global norm 1,
and prints a table (some minutes). Each number is the mean over the seeds, with the largest deviation from it in
brackets.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
from fault_report import table

from rnncallbacks import Trainer
from rnncallbacks.plugins import GradientClipping, LossAveraging
from rnncallbacks.rnn.data.splits import split
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam

Cell = Literal["vanilla", "lstm", "gru"]
CELLS: tuple[Cell, ...] = ("vanilla", "lstm", "gru")


def losses(
    cell: Cell, layers: int, rate: float, layer_norm: bool, *, characters: int, epochs: int, seeds: int
) -> list[float]:
    """The validation loss after the last epoch, for each seed."""
    text = embedded_text()
    vocabulary = Vocabulary.from_tokens(text)
    train, held_out = (
        StreamLoader(part, batch_size=32, seq_len=32) for part in split(vocabulary.encode(text)[:characters], 0.1)
    )
    found = []
    for seed in range(seeds):
        model = RecurrentModel(
            64, vocab_size=len(vocabulary), cell=cell, num_layers=layers, layer_norm=layer_norm, seed=seed
        )
        plugins = [GradientClipping(max_norm=1.0), LossAveraging()]
        trainer = Trainer(model, Adam(), plugins=plugins, learning_rate=rate)
        history = trainer.fit(train, held_out, max_epochs=epochs, progress=False)
        found.append(float(history["val_loss"][-1]))
    return found


def shown(found: Sequence[float]) -> str:
    mean = float(np.mean(found))
    return f"{mean:.2f} [{max(abs(one - mean) for one in found):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=250_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    sizes = vars(parser.parse_args())
    rows: list[Sequence[object]] = [("cell", "layers", "learning rate", "without", "with layer_norm")]
    for cell, layers, rate in product(CELLS, (1, 3), (1e-3, 4e-3)):
        both = [shown(losses(cell, layers, rate, layer_norm, **sizes)) for layer_norm in (False, True)]
        rows.append((cell, layers, rate, *both))
    print(table(rows))


if __name__ == "__main__":
    main()
