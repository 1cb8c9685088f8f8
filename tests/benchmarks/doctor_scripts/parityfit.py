import numpy as np


class ParityRNN(object):
    """Running parity of a bit string, a sigmoid output at every step. Arrays are (batch, time, feature)."""

    def __init__(self, hidden=16, lr=0.01, decay=0.9, epochs=40, batch_size=25, seed=0):
        self.hidden, self.lr, self.decay = hidden, lr, decay
        self.epochs, self.batch_size = epochs, batch_size
        self.rng = np.random.RandomState(seed)
        n = hidden
        self.params = dict(
            W_xh=self.rng.normal(0, 1.0, (1, n)),
            W_hh=self.rng.normal(0, 1.0 / np.sqrt(n), (n, n)),
            b_h=np.zeros((n,)),
            W_hy=self.rng.normal(0, 1.0 / np.sqrt(n), (n, 1)),
            b_y=np.zeros((1,)),
        )
        self.cache = {name: np.zeros_like(value) for name, value in self.params.items()}

    def _forward(self, X):
        P = self.params
        H = np.zeros((X.shape[0], X.shape[1] + 1, self.hidden))
        for t in range(X.shape[1]):
            H[:, t] = np.tanh(X[:, t].dot(P['W_xh']) + H[:, t - 1].dot(P['W_hh']) + P['b_h'])
        Y = 1.0 / (1.0 + np.exp(-(H[:, :-1].dot(P['W_hy']) + P['b_y'])))
        return H, Y

    def _loss(self, Y, T):
        Y = np.clip(Y, 1e-9, 1 - 1e-9)
        return -np.mean(T * np.log(Y) + (1 - T) * np.log(1 - Y))

    def _backward(self, X, T, H, Y):
        P = self.params
        G = dict((k, np.zeros_like(v)) for k, v in P.items())
        dZ = (Y - T) / T.size
        dH_next = np.zeros((X.shape[0], self.hidden))
        for t in range(X.shape[1] - 1, -1, -1):
            G['W_hy'] += H[:, t].T.dot(dZ[:, t])
            G['b_y'] += dZ[:, t].sum(axis=0)
            dA = (dZ[:, t].dot(P['W_hy'].T) + dH_next) * (1 - H[:, t] ** 2)
            G['W_xh'] += X[:, t].T.dot(dA)
            G['W_hh'] += H[:, t - 1].T.dot(dA)
            G['b_h'] += dA.sum(axis=0)
            dH_next = dA.dot(P['W_hh'].T)
        return G

    def fit(self, X, T, X_val, T_val):
        history = []
        for epoch in range(self.epochs):
            order = self.rng.permutation(len(X))
            total, batches = 0.0, 0
            for start in range(0, len(X), self.batch_size):
                rows = order[start:start + self.batch_size]
                xb, tb = X[rows], T[rows]
                H, Y = self._forward(xb)
                total += self._loss(Y, tb)
                batches += 1
                grads = self._backward(xb, tb, H, Y)
                for name in self.params:
                    self.cache[name] = self.decay * self.cache[name] + (1 - self.decay) * grads[name] ** 2
                    self.params[name] -= self.lr * grads[name] / (np.sqrt(self.cache[name]) + 1e-8)
            val_loss = 0.0
            for start in range(0, len(X_val), self.batch_size):
                _, Y = self._forward(X_val[start:start + self.batch_size])
                val_loss += self._loss(Y, T_val[start:start + self.batch_size])
            val_loss /= len(X_val) / self.batch_size
            history.append((total / batches, val_loss))
            print('Epoch %d train %.4f val %.4f' % (epoch, history[-1][0], val_loss))
        return history


bits = np.random.RandomState(1).randint(0, 2, size=(600, 6, 1)).astype(float)
parity = np.cumsum(bits, axis=1) % 2
net = ParityRNN()
net.fit(bits[:500], parity[:500], bits[500:], parity[500:])
