"""Time-major LSTM on character data: python godwit.py --steps 300"""
import argparse
import numpy as np


def sigmoid(x):
    return 1. / (1. + np.exp(-x))


def lstm_forward(params, state, x):
    """x: (T, B) ints"""
    T, B = x.shape
    n = state['h'].shape[1]
    hs, cs, acts, logits = [state['h']], [state['c']], [], []
    for t in range(T):
        a = params['Wx'][x[t]] + hs[-1] @ params['Wh'] + params['b']
        i, f, o = (sigmoid(a[:, k * n:(k + 1) * n]) for k in range(3))
        g = np.tanh(a[:, 3 * n:])
        c = f * cs[-1] + i * g
        h = o * np.tanh(c)
        acts.append((i, f, o, g))
        cs.append(c)
        hs.append(h)
        logits.append(h @ params['Wy'] + params['by'])
    return hs, cs, acts, np.array(logits)


def softmax_loss(logits, y):
    T, B, V = logits.shape
    e = np.exp(logits - logits.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    picked = np.take_along_axis(p, y[..., None], -1)[..., 0]
    d = p.copy()
    np.put_along_axis(d, y[..., None], np.take_along_axis(d, y[..., None], -1) - 1, -1)
    return -np.log(picked).sum() / (T * B), d / (T * B)


def lstm_backward(params, cache, x, dlogits):
    hs, cs, acts, _ = cache
    T, B = x.shape
    n = hs[0].shape[1]
    grads = {k: np.zeros_like(v) for k, v in params.items()}
    dh_next, dc_next = np.zeros((B, n)), np.zeros((B, n))
    for t in reversed(range(T)):
        i, f, o, g = acts[t]
        grads['Wy'] += hs[t + 1].T @ dlogits[t]
        grads['by'] += dlogits[t].sum(0)
        dh = dlogits[t] @ params['Wy'].T + dh_next
        tc = np.tanh(cs[t + 1])
        dc = dh * o * (1 - tc ** 2) + dc_next
        da = np.hstack([dc * g * i * (1 - i), dc * cs[t] * f * (1 - f), dh * tc * o * (1 - o), dc * i * (1 - g ** 2)])
        np.add.at(grads['Wx'], x[t], da)
        grads['Wh'] += hs[t].T @ da
        grads['b'] += da.sum(0)
        dh_next = da @ params['Wh'].T
        dc_next = dc * f
    return grads


def clip_by_norm(grads, limit):
    norm = np.sqrt(sum((g ** 2).sum() for g in grads.values()))
    if norm > limit:
        for k in grads:
            grads[k] *= limit / norm
    return norm


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--steps', type=int, default=400)
    ap.add_argument('--hidden', type=int, default=40)
    ap.add_argument('--lr', type=float, default=2.0)
    ap.add_argument('--seed', type=int, default=0)
    args = ap.parse_args()
    rng = np.random.default_rng(args.seed)
    text = open('river.txt').read()[:8000]
    chars = sorted(set(text))
    data = np.array([chars.index(c) for c in text])
    V, n, T, B = len(chars), args.hidden, 15, 10
    params = {
        'Wx': rng.normal(0, .1, (V, 4 * n)), 'Wh': rng.normal(0, .1, (n, 4 * n)), 'b': np.zeros(4 * n),
        'Wy': rng.normal(0, .1, (n, V)), 'by': np.zeros(V),
    }
    velocity = {k: np.zeros_like(v) for k, v in params.items()}
    length = len(data) // B
    streams = data[:length * B].reshape(B, length).T
    state = {'h': np.zeros((B, n)), 'c': np.zeros((B, n))}
    at, avg = 0, None
    for step in range(args.steps):
        if at + T + 1 > length:
            at = 0
            state = {'h': np.zeros((B, n)), 'c': np.zeros((B, n))}
        x, y = streams[at:at + T], streams[at + 1:at + T + 1]
        cache = lstm_forward(params, state, x)
        loss, dlogits = softmax_loss(cache[3], y)
        grads = lstm_backward(params, cache, x, dlogits)
        norm = clip_by_norm(grads, 5.0)
        for k in params:
            velocity[k] = 0.9 * velocity[k] - args.lr * 0.1 * grads[k]
            params[k] += velocity[k]
        state = {'h': cache[0][-1], 'c': cache[1][-1]}
        at += T
        avg = loss if avg is None else 0.95 * avg + 0.05 * loss
        if step % 20 == 0:
            print(f'{step} loss {avg:.3f} norm {norm:.3f}')


if __name__ == '__main__':
    main()
