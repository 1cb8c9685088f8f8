"""LSTM with one matrix for the four gates. (T, B, D), Adam, the temporal order of two marks."""
import numpy as np


class Adam:
    def __init__(self, lr=1e-3, b1=0.9, b2=0.999):
        self.lr, self.b1, self.b2, self.t = lr, b1, b2, 0
        self.m, self.v = {}, {}

    def __call__(self, params, grads):
        self.t += 1
        for name, g in grads.items():
            m = self.m[name] = self.b1 * self.m.get(name, 0) + (1 - self.b1) * g
            v = self.v[name] = self.b2 * self.v.get(name, 0) + (1 - self.b2) * g * g
            params[name] -= self.lr * (m / (1 - self.b1 ** self.t)) / (np.sqrt(v / (1 - self.b2 ** self.t)) + 1e-8)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


class LSTM:
    def __init__(self, d, h, k, rng):
        self.h = h
        bias = np.zeros(4 * h)
        bias[h:2 * h] = 1.0
        self.params = {
            "Wx": rng.standard_normal((d, 4 * h)) / np.sqrt(d),
            "Wh": rng.standard_normal((h, 4 * h)) / np.sqrt(h),
            "b": bias,
            "Wy": rng.standard_normal((h, k)) / np.sqrt(h),
            "by": np.zeros(k),
        }

    def forward(self, x):
        T, B, _ = x.shape
        p, n = self.params, self.h
        h, c = np.zeros((B, n)), np.zeros((B, n))
        self.x, self.steps = x, []
        for t in range(T):
            a = x[t] @ p["Wx"] + h @ p["Wh"] + p["b"]
            i, f, o = sigmoid(a[:, :n]), sigmoid(a[:, n:2 * n]), sigmoid(a[:, 2 * n:3 * n])
            g = np.tanh(a[:, 3 * n:])
            c_new = f * c + i * g
            tc = np.tanh(c_new)
            h_new = o * tc
            self.steps.append((h, c, i, f, o, g, tc))
            h, c = h_new, c_new
        self.last = h
        return h @ p["Wy"] + p["by"]

    def backward(self, dscores):
        p = self.params
        grads = {k: np.zeros_like(v) for k, v in p.items()}
        grads["Wy"] = self.last.T @ dscores
        grads["by"] = dscores.sum(axis=0)
        dh = dscores @ p["Wy"].T
        dc = np.zeros_like(dh)
        for t in range(len(self.steps) - 1, -1, -1):
            h, c, i, f, o, g, tc = self.steps[t]
            dc = dc + dh * o * (1 - tc ** 2)
            da = np.hstack([
                dc * g * i * (1 - i),
                dc * c * f * (1 - f),
                dh * tc * o * (1 - o),
                dc * i * (1 - g ** 2),
            ])
            grads["Wx"] += self.x[t].T @ da
            grads["Wh"] += h.T @ da
            grads["b"] += da.sum(axis=0)
            dh = da @ p["Wh"].T
            dc = dc * f
        return grads


def order_batch(rng, B=32, T=14):
    """Class 0 to 3: which of two marks came first and which second, among noise."""
    ids = rng.integers(2, 6, size=(T, B))
    first, second = rng.integers(0, 2, B), rng.integers(0, 2, B)
    ids[rng.integers(0, 4, B), np.arange(B)] = first
    ids[rng.integers(6, 10, B), np.arange(B)] = second
    return np.eye(6)[ids], 2 * first + second


def softmax_loss(scores, y):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    p[np.arange(len(y)), y] -= 1
    return loss, p / len(y)


def train():
    rng = np.random.default_rng(99)
    model, optimizer = LSTM(6, 32, 4, rng), Adam(lr=5e-3)
    recent = []
    for iteration in range(500):
        xb, yb = order_batch(rng)
        scores = model.forward(xb)
        loss, dscores = softmax_loss(scores, yb)
        grads = model.backward(dscores)
        optimizer(model.params, grads)
        recent = (recent + [loss])[-50:]
        if (iteration + 1) % 50 == 0:
            print(f"iteration {iteration + 1}, loss of the last 50: {sum(recent) / len(recent):.4f}")


if __name__ == "__main__":
    train()
