import numpy as np


class LSTM:
    def __init__(self, n_in, n_hidden, n_out, seed=1):
        r = np.random.RandomState(seed)
        self.n_hidden = n_hidden
        z = n_in + n_hidden
        self.params = {
            "W": r.randn(z, 4 * n_hidden) / np.sqrt(z),
            "b": np.zeros(4 * n_hidden),
            "V": r.randn(n_hidden, n_out) / np.sqrt(n_hidden),
            "c": np.zeros(n_out),
        }
        self.m = {k: np.zeros_like(v) for k, v in self.params.items()}
        self.v = {k: np.zeros_like(v) for k, v in self.params.items()}
        self.t = 0

    def forward(self, X):
        P, H = self.params, self.n_hidden
        B, T, _ = X.shape
        h, c = np.zeros((B, H)), np.zeros((B, H))
        self.cache, self.states = [], [h]
        outs = np.zeros((B, T, P["V"].shape[1]))
        for t in range(T):
            z = np.concatenate([X[:, t], h], axis=1)
            a = z @ P["W"] + P["b"]
            i, f, o = (1 / (1 + np.exp(-a[:, k * H : (k + 1) * H])) for k in range(3))
            g = np.tanh(a[:, 3 * H :])
            c_prev = c
            c = f * c + i * g
            tc = np.tanh(c)
            h = o * tc
            self.cache.append((z, i, f, o, g, c_prev, tc, h))
            self.states.append(h)
            outs[:, t] = h @ P["V"] + P["c"]
        return outs

    def loss_and_grads(self, X, Y):
        out = self.forward(X)
        P, H = self.params, self.n_hidden
        B, T, K = out.shape
        p = np.exp(out - out.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        idx = np.indices((B, T))
        loss = -np.log(p[idx[0], idx[1], Y]).mean()
        d = p.copy()
        d[idx[0], idx[1], Y] -= 1
        d /= B * T
        grads = {k: np.zeros_like(v) for k, v in P.items()}
        dh_next, dc_next = np.zeros((B, H)), np.zeros((B, H))
        for t in reversed(range(T)):
            z, i, f, o, g, c_prev, tc, h = self.cache[t]
            grads["V"] += h.T @ d[:, t]
            grads["c"] += d[:, t].sum(0)
            dh = d[:, t] @ P["V"].T + dh_next
            dc = dc_next + dh * o * (1 - tc**2)
            da = np.concatenate(
                [dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dh * tc * o * (1 - o), dc * i * (1 - g**2)], axis=1
            )
            grads["W"] += z.T @ da
            grads["b"] += da.sum(0)
            dz = da @ P["W"].T
            dh_next = dz[:, -H:]
            dc_next = dc * f
        return loss, grads

    def step(self, grads, lr, b1=0.9, b2=0.999):
        self.t += 1
        for k in self.params:
            self.m[k] = b1 * self.m[k] + (1 - b1) * grads[k]
            self.v[k] = b2 * self.v[k] + (1 - b2) * grads[k] ** 2
            mh, vh = self.m[k] / (1 - b1**self.t), self.v[k] / (1 - b2**self.t)
            self.params[k] -= lr * mh / (np.sqrt(vh) + 1e-8)

    def fit(self, X, Y, X_val, Y_val, epochs=50, batch_size=16, lr=1e-2):
        n = len(X)
        for epoch in range(epochs):
            order = np.random.permutation(n)
            total, batches = 0.0, 0
            for s in range(0, n, batch_size):
                idx = order[s : s + batch_size]
                loss, grads = self.loss_and_grads(X[idx], Y[idx])
                norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
                if norm > 5:
                    for k in grads:
                        grads[k] *= 5 / norm
                self.step(grads, lr)
                total += loss
                batches += 1
            val, _ = self.loss_and_grads(X_val, Y_val)
            print("epoch %d loss %.4f val %.4f" % (epoch, total / batches, val))


def make(n, T=12, K=6, seed=0):
    r = np.random.RandomState(seed)
    tok = r.randint(0, K, (n, T))
    tgt = np.roll(tok, 1, axis=1)
    tgt[:, 0] = 0
    return np.eye(K)[tok], tgt


if __name__ == "__main__":
    np.random.seed(0)
    X, Y = make(320)
    Xv, Yv = make(40, seed=9)
    net = LSTM(6, 24, 6)
    net.fit(X, Y, Xv, Yv)
