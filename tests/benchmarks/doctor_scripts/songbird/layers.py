import numpy as np


class Embedding:
    def __init__(self, rng, n, dim):
        self.params = {"table": rng.normal(0, 0.1, (n, dim))}
        self.grads = {"table": np.zeros((n, dim))}

    def __call__(self, ids):
        self.ids = ids
        return self.params["table"][ids]

    def backward(self, dout):
        self.grads["table"][...] = 0
        np.add.at(self.grads["table"], self.ids, dout)


class Recurrent:
    """Time axis first: (time, batch, features)."""

    def __init__(self, rng, n_in, n_hidden):
        self.params = {
            "W": rng.normal(0, n_in ** -0.5, (n_in, n_hidden)),
            "U": rng.normal(0, n_hidden ** -0.5, (n_hidden, n_hidden)),
            "b": np.zeros(n_hidden),
        }
        self.grads = {k: np.zeros_like(v) for k, v in self.params.items()}

    def __call__(self, xs):
        p = self.params
        self.xs, self.hs = xs, np.zeros((len(xs) + 1, xs.shape[1], len(p["b"])))
        for t, x in enumerate(xs):
            self.hs[t + 1] = np.tanh(x @ p["W"] + self.hs[t] @ p["U"] + p["b"])
        return self.hs[1:]

    def backward(self, dhs):
        p, g = self.params, self.grads
        for k in g:
            g[k][...] = 0
        dxs, later = np.zeros_like(self.xs), np.zeros_like(self.hs[0])
        for t in reversed(range(len(dhs))):
            da = (dhs[t] + later) * (1 - np.square(self.hs[t + 1]))
            g["W"] += self.xs[t].T @ da
            g["U"] += self.hs[t].T @ da
            g["b"] += da.sum(0)
            dxs[t] = da @ p["W"].T
            later = da @ p["U"].T
        return dxs


class Dense:
    def __init__(self, rng, n_in, n_out):
        self.params = {"W": rng.normal(0, n_in ** -0.5, (n_in, n_out)), "b": np.zeros(n_out)}
        self.grads = {k: np.zeros_like(v) for k, v in self.params.items()}

    def __call__(self, x):
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dout):
        flat_x, flat_d = self.x.reshape(-1, self.x.shape[-1]), dout.reshape(-1, dout.shape[-1])
        self.grads["W"][...] = flat_x.T @ flat_d
        self.grads["b"][...] = flat_d.sum(0)
        return dout @ self.params["W"].T
