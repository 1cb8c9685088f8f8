"""The adding problem (Hochreiter & Schmidhuber) with an identity-initialised ReLU RNN and Adam."""
import numpy as np

SEQ_LEN, BATCH, HIDDEN = 12, 32, 40
rs = np.random.RandomState(3)


def next_batch():
    values = rs.rand(BATCH, SEQ_LEN)
    markers = np.zeros((BATCH, SEQ_LEN))
    for row in markers:
        i, j = rs.choice(SEQ_LEN, 2, replace=False)
        row[i] = row[j] = 1
    x = np.stack([values, markers], axis=-1)
    return x, (values * markers).sum(axis=1, keepdims=True)


class Adam:
    def __init__(self, params, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        self.params = params
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.m = {k: np.zeros_like(v) for k, v in params.items()}
        self.v = {k: np.zeros_like(v) for k, v in params.items()}
        self.t = 0

    def step(self, grads):
        self.t += 1
        for k in self.params:
            self.m[k] = self.beta1 * self.m[k] + (1 - self.beta1) * grads[k]
            self.v[k] = self.beta2 * self.v[k] + (1 - self.beta2) * grads[k] ** 2
            m_hat = self.m[k] / (1 - self.beta1 ** self.t)
            v_hat = self.v[k] / (1 - self.beta2 ** self.t)
            self.params[k] -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)


class IRNN:
    def __init__(self, n_in, n_hidden, n_out):
        self.p = {
            "Wx": rs.randn(n_in, n_hidden) * 0.1,
            "Wh": np.eye(n_hidden),
            "bh": np.zeros(n_hidden),
            "Wy": rs.randn(n_hidden, n_out) * 0.1,
            "by": np.zeros(n_out),
        }

    def forward(self, x):
        p = self.p
        self.x = x
        self.h = np.zeros((x.shape[1] + 1, x.shape[0], p["Wh"].shape[0]))
        for t in range(x.shape[1]):
            self.h[t + 1] = np.maximum(0, x[:, t] @ p["Wx"] + self.h[t] @ p["Wh"] + p["bh"])
        return self.h[-1] @ p["Wy"] + p["by"]

    def backward(self, dout):
        p = self.p
        g = {k: np.zeros_like(v) for k, v in p.items()}
        g["Wy"] += self.h[-1].T @ dout
        g["by"] += dout.sum(axis=0)
        dh = dout @ p["Wy"].T
        for t in reversed(range(self.x.shape[1])):
            dz = dh * (self.h[t + 1] > 0)
            g["Wx"] += self.x[:, t].T @ dz
            g["Wh"] += self.h[t].T @ dz
            g["bh"] += dz.sum(axis=0)
            dh = dz @ p["Wh"].T
        return g


def main():
    net = IRNN(2, HIDDEN, 1)
    opt = Adam(net.p, lr=2e-3)
    running = None
    for it in range(1, 1501):
        xb, yb = next_batch()
        out = net.forward(xb)
        diff = out - yb
        loss = (diff ** 2).mean()
        grads = net.backward(2 * diff / diff.size)
        opt.step(grads)
        running = loss if running is None else 0.95 * running + 0.05 * loss
        if it % 150 == 0:
            print("iteration", it, "running loss", round(running, 5))


main()
