import numpy as np


class LSTMRegressor:
    """Forecasts a tide one step ahead; (samples, time, features); full batches are cut into minibatches."""

    def __init__(self, n_units=20, learning_rate=0.05, n_epochs=30, minibatch=20, random_state=0):
        self.n_units = n_units
        self.learning_rate = learning_rate
        self.n_epochs = n_epochs
        self.minibatch = minibatch
        self.random_state = random_state

    @staticmethod
    def _sigm(a):
        return .5 * (1 + np.tanh(.5 * a))

    def _init(self, n_features):
        r = np.random.RandomState(self.random_state)
        u = self.n_units
        self.w_ = {g: r.randn(n_features + u, u) * np.sqrt(1. / (n_features + u)) for g in 'ifog'}
        self.b_ = {g: np.zeros(u) for g in 'ifog'}
        self.b_['f'] += 1
        self.wout_ = r.randn(u) * np.sqrt(1. / u)
        self.bout_ = np.zeros(1)
        return r

    def _forward(self, X):
        n, T, _ = X.shape
        h, c = np.zeros((n, self.n_units)), np.zeros((n, self.n_units))
        tape = []
        for t in range(T):
            z = np.concatenate([X[:, t], h], axis=1)
            i = self._sigm(z @ self.w_['i'] + self.b_['i'])
            f = self._sigm(z @ self.w_['f'] + self.b_['f'])
            o = self._sigm(z @ self.w_['o'] + self.b_['o'])
            g = np.tanh(z @ self.w_['g'] + self.b_['g'])
            c_before, c = c, f * c + i * g
            h = o * np.tanh(c)
            tape.append((z, i, f, o, g, c_before, c))
        return h @ self.wout_ + self.bout_, h, tape

    def _backward(self, delta, h, tape):
        gw = {g: np.zeros_like(w) for g, w in self.w_.items()}
        gb = {g: np.zeros_like(b) for g, b in self.b_.items()}
        gwout, gbout = delta @ h, delta.sum(keepdims=True)
        dh, dc = np.outer(delta, self.wout_), 0
        for z, i, f, o, g, c_before, c in reversed(tape):
            tc = np.tanh(c)
            dc = dc + dh * o * (1 - tc * tc)
            d = {'o': dh * tc * o * (1 - o), 'i': dc * g * i * (1 - i),
                 'f': dc * c_before * f * (1 - f), 'g': dc * i * (1 - g * g)}
            dz = 0
            for name, value in d.items():
                gw[name] += z.T @ value
                gb[name] += value.sum(0)
                dz = dz + value @ self.w_[name].T
            dh = dz[:, -self.n_units:]
            dc = dc * f
        return gw, gb, gwout, gbout

    def fit(self, X, y):
        r = self._init(X.shape[2])
        self.loss_curve_ = []
        for epoch in range(self.n_epochs):
            idx = r.permutation(len(X))
            epoch_loss = 0.
            for j in range(0, len(X), self.minibatch):
                Xb, yb = X[idx[j:j + self.minibatch]], y[idx[j:j + self.minibatch]]
                out, h, tape = self._forward(Xb)
                loss = .5 * np.mean((out - yb) ** 2)
                epoch_loss += loss
                gw, gb, gwout, gbout = self._backward((out - yb) / len(yb), h, tape)
                for g in 'ifog':
                    self.w_[g] -= self.learning_rate * gw[g]
                    self.b_[g] -= self.learning_rate * gb[g]
                self.wout_ -= self.learning_rate * gwout
                self.bout_ -= self.learning_rate * gbout
            self.loss_curve_.append(epoch_loss / int(np.ceil(len(X) / self.minibatch)))
            if epoch % 5 == 0:
                print('epoch', epoch, 'loss', self.loss_curve_[-1])
        return self

    def predict(self, X):
        return self._forward(X)[0]


hours = np.arange(700)
tide = np.sin(hours * 2 * np.pi / 12.4) + .4 * np.sin(hours * 2 * np.pi / 24.1)
windows = np.array([tide[k:k + 16] for k in range(680)])[:, :, None]
following = np.array([tide[k + 16] for k in range(680)])
reg = LSTMRegressor(learning_rate=0.2).fit(windows[:500], following[:500])
print('held out', np.mean((reg.predict(windows[500:]) - following[500:]) ** 2))
