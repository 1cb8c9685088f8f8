"""The largest number so far, as a class at each step."""
import numpy as np

from gru import GRU
from trainer import Trainer


def running_maximum(rng, batches, length=10, size=24, top=6):
    for _ in range(batches):
        numbers = (top * rng.random((length, size)) ** 2.5).astype(int)
        yield np.eye(top)[numbers], np.maximum.accumulate(numbers, axis=0)


if __name__ == "__main__":
    rng = np.random.default_rng(40)
    trainer = Trainer(GRU(6, 24, 6, rng))
    trainer.train(running_maximum(rng, 600))
