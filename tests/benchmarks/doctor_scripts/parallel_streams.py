import os
import numpy as np

"""
Character RNN, truncated BPTT over 8 parallel streams of one text.
Arrays are rows: (batch, features). The state is carried from chunk to chunk.
"""

DIR = os.path.dirname(os.path.realpath(__file__))


class CharRNN:
    def __init__(self, vocab, hidden, seed=0):
        g = np.random.default_rng(seed)
        self.E = g.standard_normal((vocab, hidden)) * 0.1
        self.R = g.standard_normal((hidden, hidden)) * (0.8 / hidden ** 0.5)
        self.b = np.zeros(hidden)
        self.O = g.standard_normal((hidden, vocab)) * 0.1
        self.c = np.zeros(vocab)
        self.names = ["E", "R", "b", "O", "c"]

    def forward(self, ids, h):
        self.ids = ids
        self.hs = [h]
        self.probs = []
        for t in range(ids.shape[1]):
            h = np.tanh(self.E[ids[:, t]] + h @ self.R + self.b)
            z = h @ self.O + self.c
            z -= z.max(axis=1, keepdims=True)
            e = np.exp(z)
            self.hs.append(h)
            self.probs.append(e / e.sum(axis=1, keepdims=True))
        return h

    def loss(self, labels):
        rows = np.arange(len(labels))
        return np.mean([-np.log(p[rows, labels[:, t]]) for t, p in enumerate(self.probs)])

    def backward(self, labels):
        grads = {n: np.zeros_like(getattr(self, n)) for n in self.names}
        rows = np.arange(len(labels))
        dh = np.zeros_like(self.hs[0])
        for t in range(labels.shape[1] - 1, -1, -1):
            dz = self.probs[t].copy()
            dz[rows, labels[:, t]] -= 1
            dz /= labels.size
            grads["O"] += self.hs[t + 1].T @ dz
            grads["c"] += dz.sum(axis=0)
            da = (dh + dz @ self.O.T) * (1 - self.hs[t + 1] ** 2)
            np.add.at(grads["E"], self.ids[:, t], da)
            grads["R"] += self.hs[t].T @ da
            grads["b"] += da.sum(axis=0)
            dh = da @ self.R.T
        return grads


def main():
    text = open(os.path.join(DIR, "river.txt")).read().replace("\n", " ")
    symbols = sorted(set(text))
    ids = np.array([symbols.index(s) for s in text])
    streams, chunk = 8, 16
    usable = len(ids) // streams * streams
    ids = ids[:usable].reshape(streams, -1)
    model = CharRNN(len(symbols), 48)
    momentum = {n: 0.0 for n in model.names}
    lr = 0.2
    step = 0
    for epoch in range(20):
        h = np.zeros((streams, 48))
        epoch_losses = []
        for start in range(0, ids.shape[1] - chunk - 1, chunk):
            x = ids[:, start:start + chunk]
            y = ids[:, start + 1:start + chunk + 1]
            h_in = h
            h = model.forward(x, h_in)
            batch_loss = model.loss(y)
            grads = model.backward(y)
            for n in model.names:
                momentum[n] = 0.9 * momentum[n] + grads[n]
                getattr(model, n)[...] -= lr * momentum[n]
            epoch_losses.append(batch_loss)
            step += 1
        print(f"epoch {epoch} perplexity {np.exp(np.mean(epoch_losses)):.3f} after {step} steps")


if __name__ == "__main__":
    main()
