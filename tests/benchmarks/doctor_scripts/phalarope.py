# Bidirectional RNN that tags each number of a sequence: is it larger than the mean of both neighbours?
import numpy as np


class BiRNN:
    def __init__(self, hidden, rng):
        self.hidden = hidden
        self.Wf, self.Wb = rng.normal(size=(hidden, 1)) * .3, rng.normal(size=(hidden, 1)) * .3
        self.Uf, self.Ub = rng.normal(size=(hidden, hidden)) * .2, rng.normal(size=(hidden, hidden)) * .2
        self.bf, self.bb = np.zeros((hidden, 1)), np.zeros((hidden, 1))
        self.V, self.c = rng.normal(size=(1, 2 * hidden)) * .3, np.zeros((1, 1))
        self.names = ['Wf', 'Wb', 'Uf', 'Ub', 'bf', 'bb', 'V', 'c']
        self.vel = {n: np.zeros_like(getattr(self, n)) for n in self.names}

    def _scan(self, xs, W, U, b):
        h = np.zeros((self.hidden, xs.shape[1]))
        out = [h]
        for x in xs:
            h = np.tanh(W @ x[None, :] + U @ h + b)
            out.append(h)
        return out

    def forward(self, xs):
        """xs: (T, batch)"""
        self.xs = xs
        self.hf = self._scan(xs, self.Wf, self.Uf, self.bf)
        self.hb = self._scan(xs[::-1], self.Wb, self.Ub, self.bb)
        T = len(xs)
        self.cat = [np.vstack([self.hf[t + 1], self.hb[T - t]]) for t in range(T)]
        self.prob = np.array([1 / (1 + np.exp(-(self.V @ k + self.c)))[0] for k in self.cat])
        return self.prob

    def nll(self, ys):
        return -np.mean(ys * np.log(self.prob) + (1 - ys) * np.log(1 - self.prob))

    def _unscan(self, xs, hs, dhs, W, U):
        dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros((self.hidden, 1))
        carry = 0.
        for t in range(len(xs) - 1, -1, -1):
            da = (dhs[t] + carry) * (1 - hs[t + 1] ** 2)
            dW += da @ xs[t][:, None]
            dU += da @ hs[t].T
            db += da.sum(1, keepdims=True)
            carry = U.T @ da
        return dW, dU, db

    def backward(self, ys):
        T, n = ys.shape
        ds = (self.prob - ys) / ys.size
        gV, gc = np.zeros_like(self.V), np.zeros_like(self.c)
        df, dbk = [], []
        for t in range(T):
            gV += ds[t][None] @ self.cat[t].T
            gc += ds[t].sum()
            d = self.V.T @ ds[t][None]
            df.append(d[:self.hidden])
            dbk.append(d[self.hidden:])
        gWf, gUf, gbf = self._unscan(self.xs, self.hf, df, self.Wf, self.Uf)
        gWb, gUb, gbb = self._unscan(self.xs[::-1], self.hb, dbk[::-1], self.Wb, self.Ub)
        return dict(Wf=gWf, Wb=gWb, Uf=gUf, Ub=gUb, bf=gbf, bb=gbb, V=gV, c=gc)

    def step(self, grads, lr, mu=0.9):
        for n in self.names:
            self.vel[n] = mu * self.vel[n] - lr * grads[n]
            setattr(self, n, getattr(self, n) + self.vel[n])


def batches(rng, count, T=9, n=16):
    for _ in range(count):
        xs = rng.normal(size=(T, n))
        padded = np.vstack([xs[:1], xs, xs[-1:]])
        yield xs, (xs > (padded[:-2] + padded[2:]) / 2).astype(float)


rng = np.random.default_rng(8)
model = BiRNN(14, rng)
for epoch in range(10):
    losses = []
    for xs, ys in batches(rng, 40):
        model.forward(xs)
        losses.append(model.nll(ys))
        grads = model.backward(ys)
        model.step(grads, 0.3)
    print(f'epoch {epoch}: {np.mean(losses):.4f}')
