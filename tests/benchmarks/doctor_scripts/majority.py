import numpy as np
from numpy import zeros, zeros_like, tanh, exp, log

# majority vote of a bit string with a GRU; rows, time first


class GRULayer:

    def __init__(self, input_dim, units, rng):
        lim = 1 / np.sqrt(units)
        self.units = units
        self.W = rng.uniform(-lim, lim, (3, input_dim, units))
        self.U = rng.uniform(-lim, lim, (3, units, units))
        self.b = zeros((3, units))
        self.dW, self.dU, self.db = zeros_like(self.W), zeros_like(self.U), zeros_like(self.b)

    def forward(self, x):
        self.x = x
        self.h = [zeros((x.shape[1], self.units))]
        self.z, self.r, self.n = [], [], []
        for xt in x:
            hp = self.h[-1]
            z = 1 / (1 + exp(-(xt @ self.W[0] + hp @ self.U[0] + self.b[0])))
            r = 1 / (1 + exp(-(xt @ self.W[1] + hp @ self.U[1] + self.b[1])))
            n = tanh(xt @ self.W[2] + (r * hp) @ self.U[2] + self.b[2])
            self.h.append(z * hp + (1 - z) * n)
            self.z.append(z), self.r.append(r), self.n.append(n)
        return self.h[-1]

    def backward(self, dh):
        self.dW[:], self.dU[:], self.db[:] = 0, 0, 0
        for t in range(len(self.x) - 1, -1, -1):
            hp, z, r, n = self.h[t], self.z[t], self.r[t], self.n[t]
            dn = dh * (1 - z) * (1 - n * n)
            dz = dh * (hp - n) * z * (1 - z)
            drhp = dn @ self.U[2].T
            dr = drhp * hp * r * (1 - r)
            for k, d in enumerate((dz, dr, dn)):
                self.dW[k] += self.x[t].T @ d
                self.dU[k] += (r * hp if k == 2 else hp).T @ d
                self.db[k] += d.sum(axis=0)
            dh = dh * z + drhp * r + dz @ self.U[0].T + dr @ self.U[1].T
        return dh


class LinearLayer:
    def __init__(self, units, outputs, rng):
        self.w = rng.uniform(-1, 1, (units, outputs)) / np.sqrt(units)
        self.c = zeros(outputs)

    def forward(self, h):
        self.h_in = h
        return h @ self.w + self.c

    def backward(self, d):
        self.dw, self.dc = self.h_in.T @ d, d.sum(axis=0)
        return d @ self.w.T


class Momentum:
    def __init__(self, lr, mu):
        self.lr, self.mu, self.v = lr, mu, {}

    def apply(self, key, p, g):
        self.v[key] = self.mu * self.v.get(key, 0.0) - self.lr * g
        p += self.v[key]


def bits_and_votes(rng, T=9, B=40):
    bits = rng.integers(0, 2, (T, B))
    return np.stack([bits, 1 - bits], axis=2).astype(float), (bits.sum(axis=0) > T // 2).astype(int)


if __name__ == "__main__":
    rng = np.random.default_rng(55)
    gru, linear, opt = GRULayer(2, 16, rng), LinearLayer(16, 2, rng), Momentum(0.2, 0.9)
    history = {"loss": [], "acc": []}
    for i in range(1, 401):
        x, y = bits_and_votes(rng)
        scores = linear.forward(gru.forward(x))
        scores = scores - scores.max(axis=1)[:, None]
        p = exp(scores) / exp(scores).sum(axis=1)[:, None]
        history["loss"].append(-log(p[range(len(y)), y]).mean())
        history["acc"].append((p.argmax(axis=1) == y).mean())
        d = p.copy()
        d[range(len(y)), y] -= 1
        d /= len(y)
        gru.backward(linear.backward(d))
        opt.apply("W", gru.W, gru.dW)
        opt.apply("U", gru.U, gru.dU)
        opt.apply("b", gru.b, gru.db)
        opt.apply("w", linear.w, linear.dw)
        opt.apply("c", linear.c, linear.dc)
        if i % 40 == 0:
            print(f"{i:4d} loss {np.mean(history['loss'][-40:]):.4f} accuracy {np.mean(history['acc'][-40:]):.3f}")
