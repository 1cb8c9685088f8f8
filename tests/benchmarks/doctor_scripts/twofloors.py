import numpy as np
np.random.seed(42)

# two stacked recurrent layers, weights in a list, delayed echo of a random symbol

K, DELAY, T = 4, 3, 15


class Layer:
    def __init__(self, n_in, n_out):
        s = 1.0 / np.sqrt(n_out)
        self.weights = [
            np.random.uniform(-s, s, (n_in, n_out)),
            np.random.uniform(-s, s, (n_out, n_out)),
            np.zeros((1, n_out)),
        ]
        self.grads = [np.zeros_like(w) for w in self.weights]

    def forward(self, xs):
        W, U, b = self.weights
        self.xs = xs
        self.hs = [np.zeros((xs[0].shape[0], U.shape[0]))]
        for x in xs:
            self.hs.append(np.tanh(x @ W + self.hs[-1] @ U + b))
        return self.hs[1:]

    def backward(self, dhs):
        W, U, b = self.weights
        carry = np.zeros_like(self.hs[0])
        dxs = [None] * len(dhs)
        for t in range(len(dhs) - 1, -1, -1):
            da = (dhs[t] + carry) * (1 - self.hs[t + 1] ** 2)
            self.grads[0] += self.xs[t].T @ da
            self.grads[1] += self.hs[t].T @ da
            self.grads[2] += da.sum(axis=0, keepdims=True)
            dxs[t] = da @ W.T
            carry = da @ U.T
        return dxs


class Output:
    def __init__(self, n_in, n_out):
        self.weights = [np.random.randn(n_in, n_out) / np.sqrt(n_in), np.zeros((1, n_out))]
        self.grads = [np.zeros_like(w) for w in self.weights]

    def forward(self, hs):
        self.hs = hs
        self.ps = []
        for h in hs:
            z = h @ self.weights[0] + self.weights[1]
            e = np.exp(z - z.max(axis=1, keepdims=True))
            self.ps.append(e / e.sum(axis=1, keepdims=True))
        return self.ps

    def loss(self, ys):
        n = len(ys) * ys[0].shape[0]
        return -sum(np.sum(y * np.log(p + 1e-10)) for y, p in zip(ys, self.ps)) / n

    def backward(self, ys):
        n = len(ys) * ys[0].shape[0]
        dhs = []
        for h, p, y in zip(self.hs, self.ps, ys):
            dz = (p - y) / n
            self.grads[0] += h.T @ dz
            self.grads[1] += dz.sum(axis=0, keepdims=True)
            dhs.append(dz @ self.weights[0].T)
        return dhs


layers = [Layer(K, 32), Layer(32, 32), Output(32, K)]


def network_loss(xs, ys):
    hs = xs
    for layer in layers:
        hs = layer.forward(hs)
    return layers[-1].loss(ys)


lr = 1.0
for i in range(800):
    symbols = np.random.randint(0, K, size=(T, 20))
    delayed = np.vstack([np.zeros((DELAY, 20), int), symbols[:-DELAY]])
    xs = [np.eye(K)[s] for s in symbols]
    ys = [np.eye(K)[s] for s in delayed]
    for layer in layers:
        for g in layer.grads:
            g.fill(0)
    current = network_loss(xs, ys)
    d = ys
    for layer in reversed(layers):
        d = layer.backward(d)
    for layer in layers:
        for w, g in zip(layer.weights, layer.grads):
            w -= lr * g
    if i % 100 == 0:
        print('%4d  %.4f' % (i, current))
