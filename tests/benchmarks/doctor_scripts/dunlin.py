# functional style: everything is a tuple, nothing is changed in place
import numpy as np

rng = np.random.default_rng(11)


def init(n_in, n_h, n_out):
    g = lambda *s: rng.normal(0, 1 / np.sqrt(s[0]), s)
    return g(n_in, n_h), g(n_h, n_h) * 0.9, np.zeros(n_h), g(n_h, n_out), np.zeros(n_out)


def sample(batch, steps=10):
    x = rng.integers(0, 2, (batch, steps))
    return np.eye(2)[x], (x.sum(1) > steps // 2).astype(int)


def run_rnn(theta, x):
    wx, wh, bh, wo, bo = theta
    h = np.zeros((x.shape[0], wh.shape[0]))
    trace = (h,)
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ wx + h @ wh + bh)
        trace = trace + (h,)
    z = h @ wo + bo
    z = z - z.max(1, keepdims=True)
    return trace, np.exp(z) / np.exp(z).sum(1, keepdims=True)


def cross_entropy(prob, y):
    return -np.log(prob[np.arange(len(y)), y]).mean()


def gradient(theta, x, y, trace, prob):
    wx, wh, bh, wo, bo = theta
    d = prob.copy()
    d[np.arange(len(y)), y] -= 1
    d = d / len(y)
    gwo, gbo = trace[-1].T @ d, d.sum(0)
    dh = d @ wo.T
    gwx, gwh, gbh = 0 * wx, 0 * wh, 0 * bh
    for t in range(x.shape[1], 0, -1):
        da = dh * (1 - trace[t] ** 2)
        gwx = gwx + x[:, t - 1].T @ da
        gwh = gwh + trace[t - 1].T @ da
        gbh = gbh + da.sum(0)
        dh = da @ wh.T
    return gwx, gwh, gbh, gwo, gbo


def descend(theta, grads, rate):
    return tuple(p - rate * g for p, g in zip(theta, grads))


theta = init(2, 16, 2)
step, best = 0, np.inf
while True:
    x, y = sample(24)
    trace, prob = run_rnn(theta, x)
    ce = cross_entropy(prob, y)
    grads = gradient(theta, x, y, trace, prob)
    theta = descend(theta, grads, 0.2)
    step += 1
    if step % 50 == 0:
        print(step, ce, (prob.argmax(1) == y).mean())
    if ce < best:
        best = ce
    if step >= 1200 or ce < 0.01:
        break
