import numpy as np


class LSTMForecaster:
    """One-layer LSTM that forecasts the next value of a series."""

    def __init__(self, n_hidden=20, lr=0.01, epochs=30, batch_size=32, seed=1):
        rng = np.random.RandomState(seed)
        self.n_hidden, self.lr, self.epochs, self.batch_size = n_hidden, lr, epochs, batch_size
        s = 1 / np.sqrt(n_hidden)
        self.params = {}
        for gate in 'ifog':
            self.params['W' + gate] = rng.uniform(-s, s, (1 + n_hidden, n_hidden))
            self.params['b' + gate] = np.zeros(n_hidden)
        self.params['bf'] += 1.0
        self.params['Wy'] = rng.uniform(-s, s, (n_hidden, 1))
        self.params['by'] = np.zeros(1)
        self.m = {k: np.zeros_like(v) for k, v in self.params.items()}
        self.v = {k: np.zeros_like(v) for k, v in self.params.items()}
        self.step = 0
        self.rng = rng
        self.history = {'train': [], 'val': []}

    @staticmethod
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def forward(self, X):
        p = self.params
        B, T, _ = X.shape
        h = np.zeros((B, self.n_hidden))
        c = np.zeros((B, self.n_hidden))
        self.cache = []
        for t in range(T):
            z = np.hstack([X[:, t], h])
            i = self.sigmoid(z @ p['Wi'] + p['bi'])
            f = self.sigmoid(z @ p['Wf'] + p['bf'])
            o = self.sigmoid(z @ p['Wo'] + p['bo'])
            g = np.tanh(z @ p['Wg'] + p['bg'])
            c_new = f * c + i * g
            tc = np.tanh(c_new)
            self.cache.append((z, i, f, o, g, c, tc))
            h, c = o * tc, c_new
        self.last_h = h
        return h @ p['Wy'] + p['by']

    def loss(self, y_hat, y):
        return np.mean((y_hat - y) ** 2)

    def backward(self, y_hat, y):
        p = self.params
        grads = {k: np.zeros_like(v) for k, v in p.items()}
        dy = 2 * (y_hat - y) / y.size
        grads['Wy'] = self.last_h.T @ dy
        grads['by'] = dy.sum(axis=0)
        dh = dy @ p['Wy'].T
        dc = np.zeros_like(dh)
        for z, i, f, o, g, c_prev, tc in reversed(self.cache):
            do = dh * tc * o * (1 - o)
            dc = dc + dh * o * (1 - tc ** 2)
            di = dc * g * i * (1 - i)
            df = dc * c_prev * f * (1 - f)
            dg = dc * i * (1 - g ** 2)
            dz = 0
            for gate, d in zip('ifog', (di, df, do, dg)):
                grads['W' + gate] += z.T @ d
                grads['b' + gate] += d.sum(axis=0)
                dz = dz + d @ p['W' + gate].T
            dh = dz[:, 1:]
            dc = dc * f
        return grads

    def update(self, grads):
        self.step += 1
        for k in self.params:
            self.m[k] = 0.9 * self.m[k] + 0.1 * grads[k]
            self.v[k] = 0.999 * self.v[k] + 0.001 * grads[k] ** 2
            mh = self.m[k] / (1 - 0.9 ** self.step)
            vh = self.v[k] / (1 - 0.999 ** self.step)
            self.params[k] -= self.lr * mh / (np.sqrt(vh) + 1e-8)

    def fit(self, X, y, X_val, y_val):
        n = len(X)
        for epoch in range(self.epochs):
            order = self.rng.permutation(n)
            total = 0.0
            for s in range(0, n, self.batch_size):
                idx = order[s:s + self.batch_size]
                xb, yb = X[idx], y[idx]
                y_hat = self.forward(xb)
                batch_loss = self.loss(y_hat, yb)
                grads = self.backward(y_hat, yb)
                self.update(grads)
                total += batch_loss * len(idx)
            val_total = 0.0
            for s in range(0, len(X_val), self.batch_size):
                xv, yv = X_val[s:s + self.batch_size], y_val[s:s + self.batch_size]
                val_total += self.loss(self.forward(xv), yv) * len(xv)
            self.history['train'].append(total / n)
            self.history['val'].append(val_total / len(X_val))
            print(f"epoch {epoch + 1}: train {total / n:.5f} val {val_total / len(X_val):.5f}")
        return self

    def predict(self, X):
        return self.forward(X)


def make_data(n=500, T=12):
    t = np.linspace(0, 60, n)
    series = np.sin(t) + 0.5 * np.sin(2.3 * t)
    X = np.stack([series[i:i + T] for i in range(n - T)])[..., None]
    y = series[T:][:, None]
    return X, y


if __name__ == '__main__':
    X, y = make_data()
    cut = 400
    model = LSTMForecaster()
    model.fit(X[:cut], y[:cut], X[cut:], y[cut:])
    print('test mse', model.loss(model.predict(X[cut:]), y[cut:]))
