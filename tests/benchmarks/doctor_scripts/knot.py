"""GRU language model built from closures. Gates are one matrix."""
import numpy as np

T, B, H = 16, 8, 32


def sigm(a):
    return 1.0 / (1.0 + np.exp(-a))


def make_gru(vocab, hidden, rnd):
    w = dict(
        gates=rnd.randn(vocab + hidden, 2 * hidden) * 0.1,
        gb=np.zeros(2 * hidden),
        cand=rnd.randn(vocab + hidden, hidden) * 0.1,
        cb=np.zeros(hidden),
        out=rnd.randn(hidden, vocab) * 0.1,
        ob=np.zeros(vocab),
    )
    memory = {'h': np.zeros((B, hidden))}
    tape = []

    def reset():
        memory['h'] = np.zeros((B, hidden))

    def forward(xs, ys):
        del tape[:]
        h = memory['h']
        loss = 0.0
        for t in range(T):
            x = np.eye(vocab)[xs[:, t]]
            xh = np.concatenate([x, h], 1)
            zr = sigm(xh @ w['gates'] + w['gb'])
            z, r = zr[:, :hidden], zr[:, hidden:]
            xrh = np.concatenate([x, r * h], 1)
            n = np.tanh(xrh @ w['cand'] + w['cb'])
            h_new = (1 - z) * n + z * h
            logits = h_new @ w['out'] + w['ob']
            logits -= logits.max(1, keepdims=True)
            p = np.exp(logits)
            p /= p.sum(1, keepdims=True)
            loss += -np.log(p[np.arange(B), ys[:, t]] + 1e-12).sum()
            tape.append((xh, xrh, z, r, n, h, h_new, p))
            h = h_new
        memory['h'] = h
        return loss / (B * T)

    def backward(ys):
        g = {k: np.zeros_like(v) for k, v in w.items()}
        dh = np.zeros((B, hidden))
        for t in range(T - 1, -1, -1):
            xh, xrh, z, r, n, h, h_new, p = tape[t]
            dl = p.copy()
            dl[np.arange(B), ys[:, t]] -= 1
            dl /= B * T
            g['out'] += h_new.T @ dl
            g['ob'] += dl.sum(0)
            dh = dh + dl @ w['out'].T
            dn = dh * (1 - z) * (1 - n * n)
            dz = dh * (h - n) * z * (1 - z)
            g['cand'] += xrh.T @ dn
            g['cb'] += dn.sum(0)
            dxrh = dn @ w['cand'].T
            drh = dxrh[:, vocab:]
            dr = drh * h * r * (1 - r)
            da = np.concatenate([dz, dr], 1)
            g['gates'] += xh.T @ da
            g['gb'] += da.sum(0)
            dh = dh * z + drh * r + (da @ w['gates'].T)[:, vocab:]
        return g

    return w, forward, backward, reset


def make_rmsprop(w, lr):
    cache = {k: np.zeros_like(v) for k, v in w.items()}

    def step(g):
        for k in w:
            cache[k] = 0.95 * cache[k] + 0.05 * g[k] ** 2
            w[k] -= lr * g[k] / (np.sqrt(cache[k]) + 1e-6)

    return step


def train(n_epochs):
    rnd = np.random.RandomState(5)
    raw = open('river.txt').read()[:9000].lower()
    chars = sorted(set(raw))
    ids = np.array([chars.index(c) for c in raw])
    stream_len = (len(ids) - 1) // B
    inputs = ids[:stream_len * B].reshape(B, stream_len)
    targets = ids[1:stream_len * B + 1].reshape(B, stream_len)
    w, forward, backward, reset = make_gru(len(chars), H, rnd)
    step = make_rmsprop(w, 0.003)
    losses = []
    for epoch in range(n_epochs):
        reset()
        total, batches = 0, 0
        for pos in range(0, stream_len - T, T):
            xs, ys = inputs[:, pos:pos + T], targets[:, pos:pos + T]
            loss = forward(xs, ys)
            step(backward(ys))
            total += loss
            batches += 1
        losses.append(total / batches)
        print('epoch %d: %.3f' % (epoch, losses[-1]))


train(8)
