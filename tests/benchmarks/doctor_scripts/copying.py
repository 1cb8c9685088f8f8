import numpy as np


def glorot(key, *shape):
    limit = np.sqrt(6.0 / sum(shape))
    return key.uniform(-limit, limit, size=shape)


def new_state(n_symbols, n_units, key):
    return dict(
        lstm=dict(W=glorot(key, n_symbols + n_units, 4 * n_units), b=np.zeros(4 * n_units)),
        readout=dict(W=glorot(key, n_units, n_symbols), b=np.zeros(n_symbols)),
    )


def split_gates(a):
    i, f, g, o = np.split(a, 4, axis=-1)
    s = lambda q: 1 / (1 + np.exp(-q))
    return s(i), s(f + 1), np.tanh(g), s(o)


def apply_network(params, x):
    """x: (batch, time, symbols). Returns probabilities and what the backward pass needs."""
    n_units = params["readout"]["W"].shape[0]
    h = c = np.zeros((x.shape[0], n_units))
    trace, probs = [], []
    for t in range(x.shape[1]):
        inp = np.concatenate([x[:, t], h], axis=-1)
        i, f, g, o = split_gates(inp @ params["lstm"]["W"] + params["lstm"]["b"])
        c_old = c
        c = f * c + i * g
        h = o * np.tanh(c)
        logits = h @ params["readout"]["W"] + params["readout"]["b"]
        p = np.exp(logits - logits.max(-1, keepdims=True))
        probs.append(p / p.sum(-1, keepdims=True))
        trace.append((inp, i, f, g, o, c_old, c, h))
    return np.stack(probs, 1), trace


def objective(probs, targets):
    return -np.mean(np.sum(targets * np.log(probs + 1e-9), axis=-1))


def gradients(params, probs, targets, trace):
    W, V = params["lstm"]["W"], params["readout"]["W"]
    dW, db, dV, dc_out = np.zeros_like(W), 0, np.zeros_like(V), 0
    dlogits = (probs - targets) / (targets.shape[0] * targets.shape[1])
    n_units = V.shape[0]
    dh_future, dc = 0, 0
    for t in range(targets.shape[1] - 1, -1, -1):
        inp, i, f, g, o, c_old, c, h = trace[t]
        dV = dV + h.T @ dlogits[:, t]
        dc_out = dc_out + dlogits[:, t].sum(0)
        dh = dlogits[:, t] @ V.T + dh_future
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        da = np.concatenate([
            dc * g * i * (1 - i), dc * c_old * f * (1 - f), dc * i * (1 - g ** 2), dh * np.tanh(c) * o * (1 - o)
        ], axis=-1)
        dW = dW + inp.T @ da
        db = db + da.sum(0)
        dh_future = (da @ W.T)[:, -n_units:]
        dc = dc * f
    return dict(lstm=dict(W=dW, b=db), readout=dict(W=dV, b=dc_out))


def tree_map(fn, *trees):
    if isinstance(trees[0], dict):
        return {k: tree_map(fn, *(tree[k] for tree in trees)) for k in trees[0]}
    return fn(*trees)


def update(params, moments, grads, lr):
    moments = tree_map(lambda m, g: 0.95 * m + 0.05 * g ** 2, moments, grads)
    return tree_map(lambda p, g, m: p - lr * g / (np.sqrt(m) + 1e-5), params, grads, moments), moments


def data(key, batch, n_symbols=5, n_copy=4, gap=3):
    """Symbols, a gap, and then the same symbols again."""
    head = key.integers(2, n_symbols, size=(batch, n_copy))
    blank, go = np.zeros((batch, gap), int), np.ones((batch, 1), int)
    pad = np.zeros((batch, n_copy - 1), int)
    x = np.concatenate([head, blank, go, pad], axis=1)
    y = np.concatenate([np.zeros((batch, n_copy + gap), int), head], axis=1)
    return np.eye(n_symbols)[x], np.eye(n_symbols)[y]


def main():
    key = np.random.default_rng(6)
    params = new_state(5, 32, key)
    moments = tree_map(np.zeros_like, params)
    for step in range(700):
        x, y = data(key, 32)
        probs, trace = apply_network(params, x)
        value = objective(probs, y)
        grads = gradients(params, probs, y, trace)
        params, moments = update(params, moments, grads, lr=0.005)
        if step % 70 == 0:
            print(step, f"{value:.5f}")


main()
