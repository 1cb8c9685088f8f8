"""Next-day temperature with a stacked GRU/RNN... kept simple: one GRU layer, weights in one list, sequence to one."""
import math
import random

import numpy as np

random.seed(21)
np.random.seed(21)
DAYS, WINDOW, UNITS = 700, 14, 18
temps = [10 + 8 * math.sin(2 * math.pi * d / 90) + random.gauss(0, 0.8) for d in range(DAYS)]
mean, dev = np.mean(temps), np.std(temps)
norm = [(t - mean) / dev for t in temps]
samples = []
for d in range(DAYS - WINDOW - 1):
    samples.append((norm[d:d + WINDOW], norm[d + WINDOW]))
train, valid = samples[:550], samples[550:]


def mat(r, c):
    return np.random.randn(r, c) * math.sqrt(1.0 / c)


class Model:
    def __init__(self):
        self.weights = [mat(UNITS, 1), mat(UNITS, UNITS), np.zeros((UNITS, 1)),
                        mat(UNITS, 1), mat(UNITS, UNITS), np.zeros((UNITS, 1)),
                        mat(UNITS, 1), mat(UNITS, UNITS), np.zeros((UNITS, 1)),
                        mat(1, UNITS), np.zeros((1, 1))]

    def predict(self, window):
        Wz, Uz, bz, Wr, Ur, br, Wh, Uh, bh, V, c = self.weights
        h = np.zeros((UNITS, 1))
        self.log = []
        for value in window:
            x = np.array([[value]])
            z = 1 / (1 + np.exp(-(Wz @ x + Uz @ h + bz)))
            r = 1 / (1 + np.exp(-(Wr @ x + Ur @ h + br)))
            g = np.tanh(Wh @ x + Uh @ (r * h) + bh)
            new = (1 - z) * h + z * g
            self.log.append((x, h, z, r, g))
            h = new
        self.h = h
        return (V @ h + c)[0, 0]

    def gradient(self, error):
        Wz, Uz, bz, Wr, Ur, br, Wh, Uh, bh, V, c = self.weights
        out = [np.zeros_like(w) for w in self.weights]
        out[9] += error * self.h.T
        out[10] += error
        d = V.T * error
        for x, h, z, r, g in reversed(self.log):
            dg = d * z * (1 - g * g)
            dz = d * (g - h) * z * (1 - z)
            back = Uh.T @ dg
            dr = back * h * r * (1 - r)
            for place, delta, state in ((0, dz, h), (3, dr, h), (6, dg, r * h)):
                out[place] += delta @ x.T
                out[place + 1] += delta @ state.T
                out[place + 2] += delta
            d = d * (1 - z) + back * r + Uz.T @ dz + Ur.T @ dr
        return out


model = Model()
memory = [np.zeros_like(w) for w in model.weights]
rate, best, patience = 0.01, float('inf'), 0
epoch = 0
while patience < 3 and epoch < 25:
    random.shuffle(train)
    squared = []
    for window, tomorrow in train:
        guess = model.predict(window)
        cost = 0.5 * (guess - tomorrow) ** 2
        squared.append(cost)
        steps = model.gradient(guess - tomorrow)
        for i, step in enumerate(steps):
            memory[i] = 0.9 * memory[i] + step
            model.weights[i] = model.weights[i] - rate * 0.2 * memory[i]
    check = sum(0.5 * (model.predict(w) - y) ** 2 for w, y in valid) / len(valid)
    print('epoch', epoch, 'train', sum(squared) / len(squared), 'valid', check)
    patience = 0 if check < best else patience + 1
    best = min(best, check)
    epoch += 1
