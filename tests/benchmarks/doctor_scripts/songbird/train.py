"""python songbird/train.py"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np
from songbird.layers import Dense, Embedding, Recurrent
from songbird.losses import softmax_cross_entropy
from songbird.optim import RMSProp


def motifs(rng, count, length):
    """Songs of repeated motifs of three of six notes."""
    songs = np.zeros((length + 1, count), int)
    for j in range(count):
        motif = rng.permutation(6)[:3]
        songs[:, j] = np.resize(motif, length + 1)
    return songs


class Model:
    def __init__(self, rng):
        self.embed = Embedding(rng, 6, 12)
        self.rnn = Recurrent(rng, 12, 40)
        self.head = Dense(rng, 40, 6)
        self.layers = [self.embed, self.rnn, self.head]

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids)))

    def backward(self, dlogits):
        self.embed.backward(self.rnn.backward(self.head.backward(dlogits)))


def evaluate(model, songs, size=20):
    losses = []
    for i in range(0, songs.shape[1], size):
        part = songs[:, i:i + size]
        losses.append(softmax_cross_entropy(model.forward(part[:-1]), part[1:])[0])
    return np.mean(losses)


def main():
    rng = np.random.default_rng(77)
    train, valid = motifs(rng, 400, 12), motifs(rng, 80, 12)
    model = Model(rng)
    optimizer = RMSProp(model.layers, lr=0.005)
    for epoch in range(1, 11):
        train = train[:, rng.permutation(train.shape[1])]
        running_loss = 0.0
        for i in range(0, train.shape[1], 20):
            batch = train[:, i:i + 20]
            logits = model.forward(batch[:-1])
            loss, dlogits = softmax_cross_entropy(logits, batch[1:])
            model.backward(dlogits)
            optimizer.update()
            running_loss += loss * 20
        print("epoch %2d  train %.4f  valid %.4f" % (epoch, running_loss / train.shape[1], evaluate(model, valid)))


if __name__ == "__main__":
    main()
