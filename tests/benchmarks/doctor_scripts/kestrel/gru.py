import numpy as np


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


class GRU:
    """All parameters are views of one flat vector, as are their gradients."""

    def __init__(self, inputs, units, outputs, rng):
        shapes = [("Wx", (inputs, 3 * units)), ("Wh", (units, 3 * units)), ("b", (3 * units,)),
                  ("Wo", (units, outputs)), ("bo", (outputs,))]
        size = sum(int(np.prod(shape)) for _, shape in shapes)
        self.units = units
        self.flat, self.flat_grad = np.zeros(size), np.zeros(size)
        self.p, self.g = {}, {}
        start = 0
        for name, shape in shapes:
            end = start + int(np.prod(shape))
            self.p[name] = self.flat[start:end].reshape(shape)
            self.g[name] = self.flat_grad[start:end].reshape(shape)
            if len(shape) == 2:
                self.p[name][...] = rng.standard_normal(shape) / np.sqrt(shape[0])
            start = end

    def forward(self, xs):
        n, p = self.units, self.p
        h = np.zeros((xs.shape[1], n))
        self.xs, self.tape, logits = xs, [], []
        for x in xs:
            ax, ah = x @ p["Wx"] + p["b"], h @ p["Wh"]
            zr = sigmoid(ax[:, :2 * n] + ah[:, :2 * n])
            z, r = zr[:, :n], zr[:, n:]
            c = np.tanh(ax[:, 2 * n:] + r * ah[:, 2 * n:])
            h_new = (1 - z) * h + z * c
            self.tape.append((h, z, r, c, ah[:, 2 * n:], h_new))
            h = h_new
            logits.append(h @ p["Wo"] + p["bo"])
        return np.array(logits)

    def backward(self, dlogits):
        p, g = self.p, self.g
        self.flat_grad[:] = 0
        dh = np.zeros_like(self.tape[0][0])
        for t in range(len(dlogits) - 1, -1, -1):
            h, z, r, c, uh, h_new = self.tape[t]
            g["Wo"] += h_new.T @ dlogits[t]
            g["bo"] += dlogits[t].sum(axis=0)
            dh = dh + dlogits[t] @ p["Wo"].T
            dc = dh * z * (1 - c ** 2)
            dz = dh * (c - h) * z * (1 - z)
            dr = dc * uh * r * (1 - r)
            dax = np.hstack([dz, dr, dc])
            dah = np.hstack([dz, dr, dc * r])
            g["Wx"] += self.xs[t].T @ dax
            g["b"] += dax.sum(axis=0)
            g["Wh"] += h.T @ dah
            dh = dh * (1 - z) + dah @ p["Wh"].T
