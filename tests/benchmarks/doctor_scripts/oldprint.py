import numpy as np
from itertools import izip

# counts down: a network that learns to count, from 2014

np.random.seed(0)
Wxh = np.random.randn(10, 1) * 0.1
Whh = np.random.randn(10, 10) * 0.1
Why = np.random.randn(1, 10) * 0.1

def step(x, y):
    hs = [np.zeros((10, 1))]
    loss = 0.0
    for v in x:
        hs.append(np.tanh(Wxh * v + np.dot(Whh, hs[-1])))
    e = np.dot(Why, hs[-1]) - y
    dWxh, dWhh = np.zeros_like(Wxh), np.zeros_like(Whh)
    dWhy = e * hs[-1].T
    dh = Why.T * e
    for t in xrange(len(x) - 1, -1, -1):
        da = dh * (1 - hs[t + 1] ** 2)
        dWxh += da * x[t]
        dWhh += np.dot(da, hs[t].T)
        dh = np.dot(Whh.T, da)
    return 0.5 * float(e ** 2), dWxh, dWhh, dWhy

for i in xrange(1000):
    x = np.random.rand(6)
    loss, dWxh, dWhh, dWhy = step(x, x.sum() / 6)
    for w, g in izip((Wxh, Whh, Why), (dWxh, dWhh, dWhy)):
        w -= 0.05 * g
    if i % 100 == 0:
        print "iteration", i, "loss", loss
