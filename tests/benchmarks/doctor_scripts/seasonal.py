import numpy as np


class GRUForecaster:
    """fit(X, y) with validation, early stopping and reduced weights; X is (samples, time, 1)."""

    def __init__(self, units=18, lr=0.01, epochs=25, batch_size=24, patience=8, seed=1):
        self.units, self.lr, self.epochs = units, lr, epochs
        self.batch_size, self.patience = batch_size, patience
        self.rng = np.random.RandomState(seed)
        s = 1.0 / np.sqrt(units)
        self.theta = {}
        for gate in ("z", "r", "c"):
            self.theta["W" + gate] = self.rng.uniform(-s, s, (1, units))
            self.theta["U" + gate] = self.rng.uniform(-s, s, (units, units))
            self.theta["b" + gate] = np.zeros(units)
        self.theta["V"] = self.rng.uniform(-s, s, (units, 1))
        self.theta["d"] = np.zeros(1)
        self.steps = 0
        self.first = {k: np.zeros_like(v) for k, v in self.theta.items()}
        self.second = {k: np.zeros_like(v) for k, v in self.theta.items()}

    def forward(self, X):
        th = self.theta
        h = np.zeros((len(X), self.units))
        self.tape = []
        for t in range(X.shape[1]):
            x = X[:, t]
            z = 1 / (1 + np.exp(-(x @ th["Wz"] + h @ th["Uz"] + th["bz"])))
            r = 1 / (1 + np.exp(-(x @ th["Wr"] + h @ th["Ur"] + th["br"])))
            c = np.tanh(x @ th["Wc"] + r * (h @ th["Uc"]) + th["bc"])
            self.tape.append((x, h, z, r, c))
            h = z * h + (1 - z) * c
        self.h = h
        return (h @ th["V"] + th["d"])[:, 0]

    def backward(self, delta):
        th = self.theta
        g = {k: np.zeros_like(v) for k, v in th.items()}
        g["V"] = self.h.T @ delta[:, None]
        g["d"] = delta.sum(keepdims=True)
        dh = delta[:, None] @ th["V"].T
        for x, h, z, r, c in self.tape[::-1]:
            dc = dh * (1 - z) * (1 - c ** 2)
            dz = dh * (h - c) * z * (1 - z)
            dr = dc * (h @ th["Uc"]) * r * (1 - r)
            for gate, d in (("z", dz), ("r", dr), ("c", dc)):
                g["W" + gate] += x.T @ d
                g["b" + gate] += d.sum(axis=0)
            g["Uz"] += h.T @ dz
            g["Ur"] += h.T @ dr
            g["Uc"] += h.T @ (dc * r)
            dh = dh * z + dz @ th["Uz"].T + dr @ th["Ur"].T + (dc * r) @ th["Uc"].T
        return g

    def loss(self, prediction, y):
        return np.mean((prediction - y) ** 2)

    def adam(self, g):
        self.steps += 1
        for k in self.theta:
            self.first[k] = 0.9 * self.first[k] + 0.1 * g[k]
            self.second[k] = 0.999 * self.second[k] + 0.001 * g[k] ** 2
            a = self.first[k] / (1 - 0.9 ** self.steps)
            b = self.second[k] / (1 - 0.999 ** self.steps)
            self.theta[k] -= self.lr * a / (np.sqrt(b) + 1e-8)

    def fit(self, X, y, X_val, y_val):
        best, waited = np.inf, 0
        self.history = {"loss": [], "val_loss": []}
        for epoch in range(self.epochs):
            order = self.rng.permutation(len(X))
            losses = []
            for rows in np.array_split(order, len(X) // self.batch_size):
                prediction = self.forward(X[rows])
                losses.append(self.loss(prediction, y[rows]))
                g = self.backward(2 * (prediction - y[rows]) / len(rows))
                self.adam(g)
            self.history["loss"].append(np.mean(losses))
            self.history["val_loss"].append(self.loss(self.forward(X_val), y_val))
            print("Epoch %d - loss %.5f - val_loss %.5f" % (epoch + 1, self.history["loss"][-1],
                                                          self.history["val_loss"][-1]))
            if self.history["val_loss"][-1] < best - 1e-5:
                best, waited = self.history["val_loss"][-1], 0
            else:
                waited += 1
            if waited >= self.patience:
                print("early stopping")
                break


rng = np.random.RandomState(0)
months = np.arange(420)
sales = np.sin(months * 2 * np.pi / 12) + 0.3 * np.cos(months * 2 * np.pi / 7) + 0.05 * rng.randn(420)
X = np.array([sales[i:i + 12] for i in range(400)])[:, :, None]
y = np.array([sales[i + 12] for i in range(400)])
GRUForecaster().fit(X[:320], y[:320], X[320:], y[320:])
