"""
Recall the first symbol of a sequence after some distractors. Gradients are checked numerically before training starts.
"""
import numpy as np


def make_batch(rng, n_symbols, length, batch):
    seq = rng.randint(0, n_symbols, size=(length, batch))
    return np.eye(n_symbols)[seq], seq[0]


def init(rng, n_in, n_h, n_out):
    return {
        'Wxh': rng.randn(n_in, n_h) / np.sqrt(n_in),
        'Whh': np.linalg.qr(rng.randn(n_h, n_h))[0],
        'bh': np.zeros(n_h),
        'Why': rng.randn(n_h, n_out) / np.sqrt(n_h),
        'by': np.zeros(n_out),
    }


def loss_fn(w, x, y, with_grads=True):
    T, B, _ = x.shape
    h = np.zeros((T + 1, B, w['Whh'].shape[0]))
    for t in range(T):
        h[t + 1] = np.tanh(x[t].dot(w['Wxh']) + h[t].dot(w['Whh']) + w['bh'])
    scores = h[T].dot(w['Why']) + w['by']
    scores -= scores.max(1, keepdims=True)
    p = np.exp(scores)
    p /= p.sum(1, keepdims=True)
    loss = -np.log(p[np.arange(B), y]).mean()
    if not with_grads:
        return loss
    dscores = p
    dscores[np.arange(B), y] -= 1
    dscores /= B
    g = {k: np.zeros_like(v) for k, v in w.items()}
    g['Why'] = h[T].T.dot(dscores)
    g['by'] = dscores.sum(0)
    dh = dscores.dot(w['Why'].T)
    for t in range(T - 1, -1, -1):
        dz = dh * (1 - h[t + 1] ** 2)
        g['Wxh'] += x[t].T.dot(dz)
        g['Whh'] += h[t].T.dot(dz)
        g['bh'] += dz.sum(0)
        dh = dz.dot(w['Whh'].T)
    return loss, g


def gradient_check(w, rng, n=5, eps=1e-5):
    x, y = make_batch(rng, 4, 5, 3)
    _, g = loss_fn(w, x, y)
    for name in w:
        flat, worst = w[name].reshape(-1), 0.0
        for _ in range(n):
            i = rng.randint(flat.size)
            old = flat[i]
            flat[i] = old + eps
            up = loss_fn(w, x, y, with_grads=False)
            flat[i] = old - eps
            down = loss_fn(w, x, y, with_grads=False)
            flat[i] = old
            numeric = (up - down) / (2 * eps)
            analytic = g[name].reshape(-1)[i]
            worst = max(worst, abs(numeric - analytic) / max(1e-8, abs(numeric) + abs(analytic)))
        print('gradient check', name, '%.1e' % worst)


if __name__ == '__main__':
    rng = np.random.RandomState(8)
    w = init(rng, 4, 32, 4)
    gradient_check(w, rng)
    rms = {k: np.zeros_like(v) for k, v in w.items()}
    seen = 0
    for step in range(1, 1001):
        x, y = make_batch(rng, 4, 8, 32)
        J, dJ = loss_fn(w, x, y)
        for k in w:
            rms[k] += 0.1 * (dJ[k] ** 2 - rms[k])
            w[k] -= 0.003 * dJ[k] / (np.sqrt(rms[k]) + 1e-6)
        seen += len(y)
        if step % 100 == 0:
            print('%6d examples: J = %.4f' % (seen, J))
