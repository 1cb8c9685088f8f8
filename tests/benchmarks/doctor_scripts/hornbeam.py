# my first RNN: learns the text letter by letter. No seed: another result each time.
import numpy as np
import os

data = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'river.txt')).read().lower()
letters = list(set(data))
letters.sort()
N = len(letters)

hidden = 64
steps = 24
U = np.random.uniform(-np.sqrt(1. / N), np.sqrt(1. / N), (hidden, N))
W = np.random.uniform(-np.sqrt(1. / hidden), np.sqrt(1. / hidden), (hidden, hidden))
V = np.random.uniform(-np.sqrt(1. / hidden), np.sqrt(1. / hidden), (N, hidden))
b = np.zeros(hidden)
c = np.zeros(N)


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / e.sum()


def forward(sentence, s_prev):
    s = np.zeros((len(sentence) + 1, hidden))
    o = np.zeros((len(sentence), N))
    s[-1] = s_prev
    for t, letter in enumerate(sentence):
        s[t] = np.tanh(U[:, letter] + W.dot(s[t - 1]) + b)
        o[t] = softmax(V.dot(s[t]) + c)
    return s, o


def loss(o, answer):
    return -np.log(o[np.arange(len(answer)), answer]).sum() / len(answer)


def backward(sentence, answer, s, o):
    dU, dW, dV = np.zeros(U.shape), np.zeros(W.shape), np.zeros(V.shape)
    db, dc = np.zeros(b.shape), np.zeros(c.shape)
    do = o.copy()
    do[np.arange(len(answer)), answer] -= 1
    do /= len(answer)
    ds_next = np.zeros(hidden)
    for t in range(len(sentence) - 1, -1, -1):
        dV += np.outer(do[t], s[t])
        dc += do[t]
        ds = (V.T.dot(do[t]) + ds_next) * (1 - s[t] ** 2)
        db += ds
        dU[:, sentence[t]] += ds
        dW += np.outer(ds, s[t - 1])
        ds_next = W.T.dot(ds)
    return dU, dW, dV, db, dc


def learn(rounds=2000, rate=0.3):
    global U, W, V, b, c
    where, count = 0, 0
    s_last = np.zeros(hidden)
    shown = None
    while True:
        if where + steps + 1 > len(data):
            where = 0
            s_last = np.zeros(hidden)
        piece = [letters.index(ch) for ch in data[where:where + steps + 1]]
        s_in = s_last
        s, o = forward(piece[:-1], s_in)
        l = loss(o, piece[1:])
        s_last = s[steps - 1]
        dU, dW, dV, db, dc = backward(piece[:-1], piece[1:], s, o)
        size = np.sqrt((dU ** 2).sum() + (dW ** 2).sum() + (dV ** 2).sum() + (db ** 2).sum() + (dc ** 2).sum())
        factor = rate / max(1., size)
        U = U - factor * dU
        W = W - factor * dW
        V = V - factor * dV
        b = b - factor * db
        c = c - factor * dc
        shown = l if shown is None else 0.99 * shown + 0.01 * l
        count += 1
        where += steps
        if count % 100 == 0:
            print(count, 'letters:', count * steps, 'loss:', shown)
        if count == rounds:
            break


learn()
