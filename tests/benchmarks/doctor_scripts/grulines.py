"""Character-level GRU, flat script, one sequence at a time. Run: python grulines.py"""
import os
import sys
import numpy as np

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "river.txt")
data = open(path, "r").read()
vocabulary = sorted(set(data))
vocab_size = len(vocabulary)
char_to_ix = dict((c, i) for i, c in enumerate(vocabulary))

hidden_size = 50
seq_length = 20
learning_rate = 0.05
np.random.seed(100)


def uniform(*shape):
    return np.random.uniform(-1, 1, shape) / np.sqrt(hidden_size)


Wz, Uz, bz = uniform(hidden_size, vocab_size), uniform(hidden_size, hidden_size), np.zeros((hidden_size, 1))
Wr, Ur, br = uniform(hidden_size, vocab_size), uniform(hidden_size, hidden_size), np.zeros((hidden_size, 1))
Wh, Uh, bh = uniform(hidden_size, vocab_size), uniform(hidden_size, hidden_size), np.zeros((hidden_size, 1))
Wy, by = uniform(vocab_size, hidden_size), np.zeros((vocab_size, 1))


def sigmoid(x): return 1. / (1. + np.exp(-x))


def loss_function(inputs, targets, hprev):
    xs, zs, rs, hts, hs, ps = {}, {}, {}, {}, {-1: np.copy(hprev)}, {}
    loss = 0
    for t, (i, target) in enumerate(zip(inputs, targets)):
        xs[t] = np.zeros((vocab_size, 1))
        xs[t][i] = 1
        zs[t] = sigmoid(Wz @ xs[t] + Uz @ hs[t-1] + bz)
        rs[t] = sigmoid(Wr @ xs[t] + Ur @ hs[t-1] + br)
        hts[t] = np.tanh(Wh @ xs[t] + Uh @ (rs[t] * hs[t-1]) + bh)
        hs[t] = (1 - zs[t]) * hs[t-1] + zs[t] * hts[t]
        y = Wy @ hs[t] + by
        ps[t] = np.exp(y) / np.exp(y).sum()
        loss -= np.log(ps[t][target, 0]) / len(inputs)

    dWz, dUz, dbz = np.zeros_like(Wz), np.zeros_like(Uz), np.zeros_like(bz)
    dWr, dUr, dbr = np.zeros_like(Wr), np.zeros_like(Ur), np.zeros_like(br)
    dWh, dUh, dbh = np.zeros_like(Wh), np.zeros_like(Uh), np.zeros_like(bh)
    dWy, dby = np.zeros_like(Wy), np.zeros_like(by)
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = ps[t].copy()
        dy[targets[t]] -= 1
        dy /= len(inputs)
        dWy += dy @ hs[t].T
        dby += dy
        dh = Wy.T @ dy + dhnext
        dht = dh * zs[t] * (1 - hts[t] ** 2)
        dz = dh * (hts[t] - hs[t-1]) * zs[t] * (1 - zs[t])
        drh = Uh.T @ dht
        dr = drh * hs[t-1] * rs[t] * (1 - rs[t])
        dWh += dht @ xs[t].T
        dUh += dht @ (rs[t] * hs[t-1]).T
        dbh += dht
        dWz += dz @ xs[t].T
        dUz += dz @ hs[t-1].T
        dbz += dz
        dWr += dr @ xs[t].T
        dUr += dr @ hs[t-1].T
        dbr += dr
        dhnext = dh * (1 - zs[t]) + drh * rs[t] + Uz.T @ dz + Ur.T @ dr
    return loss, (dWz, dUz, dbz, dWr, dUr, dbr, dWh, dUh, dbh, dWy, dby), hs[len(inputs) - 1]


mem = [np.zeros_like(w) for w in (Wz, Uz, bz, Wr, Ur, br, Wh, Uh, bh, Wy, by)]
n = 0
for epoch in range(100):
    hprev = np.zeros((hidden_size, 1))
    for p in range(0, len(data) - seq_length - 1, seq_length):
        inputs = [char_to_ix[c] for c in data[p:p + seq_length]]
        targets = [char_to_ix[c] for c in data[p + 1:p + seq_length + 1]]
        entering = hprev
        loss, derivatives, hprev = loss_function(inputs, targets, entering)
        for w, d, m in zip((Wz, Uz, bz, Wr, Ur, br, Wh, Uh, bh, Wy, by), derivatives, mem):
            m *= 0.95
            m += 0.05 * d * d
            w -= learning_rate * 0.1 * d / np.sqrt(m + 1e-8)
        if n % 50 == 0:
            sys.stdout.write("epoch %d n %d loss %.4f\n" % (epoch, n, loss))
        n += 1
