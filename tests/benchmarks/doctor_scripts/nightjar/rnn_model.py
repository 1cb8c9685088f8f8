import numpy as np


def logistic(v):
    return 1 / (1 + np.exp(-v))


class Model:
    """Peephole-free LSTM, columns. `train_step` goes forward, backward and updates."""

    def __init__(self, config):
        rng = np.random.RandomState(config['seed'])
        n, d, k = config['units'], config['inputs'], config['outputs']
        self.n = n
        self.W = rng.normal(0, 1. / np.sqrt(n + d), (4 * n, n + d))
        self.b = np.zeros((4 * n, 1))
        self.b[:n] = 1.
        self.Wy = rng.normal(0, 1. / np.sqrt(n), (k, n))
        self.by = np.zeros((k, 1))
        self.vW, self.vb = np.zeros_like(self.W), np.zeros_like(self.b)
        self.vWy, self.vby = np.zeros_like(self.Wy), np.zeros_like(self.by)

    def unroll(self, xs):
        n, h = self.n, np.zeros((self.n, xs[0].shape[1]))
        c = np.zeros_like(h)
        self.tape = []
        ys = []
        for x in xs:
            z = np.concatenate([h, x])
            a = self.W @ z + self.b
            f, i, o = logistic(a[:n]), logistic(a[n:2 * n]), logistic(a[2 * n:3 * n])
            g = np.tanh(a[3 * n:])
            c_prev = c
            c = f * c_prev + i * g
            h = o * np.tanh(c)
            self.tape.append((z, f, i, o, g, c_prev, c, h))
            ys.append(self.Wy @ h + self.by)
        return ys

    def train_step(self, xs, targets, rate, momentum=0.9):
        ys = self.unroll(xs)
        count = targets[0].size * len(targets)
        loss = sum(np.sum((y - t) ** 2) for y, t in zip(ys, targets)) / count
        dW, db = np.zeros_like(self.W), np.zeros_like(self.b)
        dWy, dby = np.zeros_like(self.Wy), np.zeros_like(self.by)
        n = self.n
        dh_next = dc_next = 0
        for k in reversed(range(len(xs))):
            z, f, i, o, g, c_prev, c, h = self.tape[k]
            dy = 2 * (ys[k] - targets[k]) / count
            dWy += dy @ h.T
            dby += dy.sum(axis=1, keepdims=True)
            dh = self.Wy.T @ dy + dh_next
            tc = np.tanh(c)
            dc = dh * o * (1 - tc ** 2) + dc_next
            da = np.vstack([dc * c_prev * f * (1 - f), dc * g * i * (1 - i), dh * tc * o * (1 - o), dc * i * (1 - g ** 2)])
            dW += da @ z.T
            db += da.sum(axis=1, keepdims=True)
            dh_next = (self.W.T @ da)[:n]
            dc_next = dc * f
        self.vW = momentum * self.vW + rate * dW
        self.vb = momentum * self.vb + rate * db
        self.vWy = momentum * self.vWy + rate * dWy
        self.vby = momentum * self.vby + rate * dby
        self.W -= self.vW
        self.b -= self.vb
        self.Wy -= self.vWy
        self.by -= self.vby
        return loss
