"""LSTM, one account at a time, but the update comes once in eight: gradients are added up in between."""
import numpy as np

rng = np.random.default_rng(64)
EVERY, UNITS, MONTHS = 8, 16, 10


def account():
    """Monthly payments, and whether the balance was ever below zero."""
    payments = rng.normal(0.2, 1.0, MONTHS)
    return payments[:, None], float((np.cumsum(payments) < 0).any())


def sig(x):
    return 1 / (1 + np.exp(-x))


class Lstm:
    def __init__(self):
        k = 1 / np.sqrt(UNITS)
        self.weights = {"gates": rng.uniform(-k, k, (1 + UNITS + 1, 4 * UNITS)), "final": rng.uniform(-k, k, UNITS + 1)}
        self.sums = {name: np.zeros_like(w) for name, w in self.weights.items()}

    def run(self, xs):
        h, c = np.zeros(UNITS), np.zeros(UNITS)
        self.trace = []
        for x in xs:
            v = np.concatenate([x, h, [1.0]])
            i, f, o, g = np.split(v @ self.weights["gates"], 4)
            i, f, o, g = sig(i), sig(f + 1), sig(o), np.tanh(g)
            c_old, c = c, f * c + i * g
            h = o * np.tanh(c)
            self.trace.append((v, i, f, o, g, c_old, c))
        self.top = np.append(h, 1.0)
        return sig(self.top @ self.weights["final"])

    def learn(self, p, y):
        d = p - y
        self.sums["final"] += d * self.top
        dh, dc = d * self.weights["final"][:-1], np.zeros(UNITS)
        for v, i, f, o, g, c_old, c in self.trace[::-1]:
            tc = np.tanh(c)
            dc = dc + dh * o * (1 - tc * tc)
            da = np.concatenate([dc * g * i * (1 - i), dc * c_old * f * (1 - f), dh * tc * o * (1 - o), dc * i * (1 - g * g)])
            self.sums["gates"] += np.outer(v, da)
            dh = (self.weights["gates"] @ da)[1:-1]
            dc = dc * f

    def update(self, rate):
        for name in self.weights:
            self.weights[name] -= rate * self.sums[name] / EVERY
            self.sums[name][...] = 0.0


net = Lstm()
average = 0.7
for n in range(1, 6001):
    xs, label = account()
    p = net.run(xs)
    loss = -np.log(p if label else 1 - p)
    average += 0.005 * (loss - average)
    net.learn(p, label)
    if n % EVERY == 0:
        net.update(0.5)
    if n % 500 == 0:
        print(f"{n} accounts, average loss {average:.4f}")
