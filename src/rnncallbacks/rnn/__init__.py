"""Recurrent networks in NumPy: the model, optimizers, sampling, and data."""

from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import ArrayLoader, SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.data.text import Vocabulary
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizer import Optimizer
from rnncallbacks.rnn.optimizers import SGD, Adagrad, Adam, AdamW, RMSProp
from rnncallbacks.rnn.sampling import sample

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "ArrayLoader",
    "Optimizer",
    "RMSProp",
    "RecurrentModel",
    "SequenceBatch",
    "SequenceLoader",
    "StreamLoader",
    "Vocabulary",
    "sample",
]
