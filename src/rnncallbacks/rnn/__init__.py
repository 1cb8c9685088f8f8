"""Recurrent networks in NumPy: the model, the optimizers that train it, and the data that they are trained on."""

from rnncallbacks.rnn.batches import ArrayLoader, SequenceBatch, SequenceLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSProp
from rnncallbacks.rnn.sampling import sample
from rnncallbacks.rnn.streams import StreamLoader
from rnncallbacks.rnn.text import Vocabulary

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
