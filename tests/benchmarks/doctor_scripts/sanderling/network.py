import numpy as np


class Parameter:
    def __init__(self, value):
        self.value = value
        self.grad = np.zeros_like(value)


class WordRNN:
    def __init__(self, vocab_size, emb, hidden, seed=0):
        r = np.random.RandomState(seed)
        self.E = Parameter(r.randn(vocab_size, emb) * 0.3)
        self.Wx = Parameter(r.randn(emb, hidden) * 0.3)
        self.Wh = Parameter(r.randn(hidden, hidden) * 0.2)
        self.b = Parameter(np.zeros(hidden))
        self.Wo = Parameter(r.randn(hidden, vocab_size) * 0.3)
        self.bo = Parameter(np.zeros(vocab_size))

    def parameters(self):
        return [p for p in vars(self).values() if isinstance(p, Parameter)]

    def zero_grad(self):
        for p in self.parameters():
            p.grad = np.zeros_like(p.value)

    def loss(self, sentences_in, sentences_out):
        """Mean cross entropy of a batch (B, T) of word numbers."""
        B, T = sentences_in.shape
        self.inp, self.out = sentences_in, sentences_out
        self.hs = np.zeros((B, T + 1, self.Wh.value.shape[0]))
        self.emb = self.E.value[sentences_in]
        for t in range(T):
            self.hs[:, t] = np.tanh(self.emb[:, t] @ self.Wx.value + self.hs[:, t - 1] @ self.Wh.value + self.b.value)
        scores = self.hs[:, :T] @ self.Wo.value + self.bo.value
        scores -= scores.max(-1, keepdims=True)
        self.probs = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        rows, cols = np.indices((B, T))
        return -np.log(self.probs[rows, cols, sentences_out]).mean()

    def backward(self):
        B, T = self.inp.shape
        d = self.probs.copy()
        rows, cols = np.indices((B, T))
        d[rows, cols, self.out] -= 1
        d /= B * T
        self.Wo.grad += np.einsum('bth,btv->hv', self.hs[:, :T], d)
        self.bo.grad += d.sum((0, 1))
        dhs = d @ self.Wo.value.T
        dh = np.zeros_like(dhs[:, 0])
        for t in reversed(range(T)):
            dh = (dh + dhs[:, t]) * (1 - self.hs[:, t] ** 2)
            self.Wx.grad += self.emb[:, t].T @ dh
            self.Wh.grad += self.hs[:, t - 1].T @ dh
            self.b.grad += dh.sum(0)
            np.add.at(self.E.grad, self.inp[:, t], dh @ self.Wx.value.T)
            dh = dh @ self.Wh.value.T
