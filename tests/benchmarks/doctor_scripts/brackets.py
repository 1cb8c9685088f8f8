"""Predict the next symbol of a^n b^n, functional style: every function returns new values, nothing is changed in place."""
import numpy as np

VOCAB = ["a", "b", "$"]
N_MAX = 5
LENGTH = 2 * N_MAX


def sequences(rng, count):
    ns = rng.integers(1, N_MAX + 1, size=count)
    rows = [[0] * n + [1] * n + [2] * (LENGTH + 1 - 2 * n) for n in ns]
    return np.array(rows).T  # time first


def onehot(ids):
    return np.eye(len(VOCAB))[:, ids].transpose(1, 0, 2)  # (time, vocab, batch)


def init_params(rng, hidden):
    return (
        rng.normal(scale=0.3, size=(hidden, len(VOCAB))),
        rng.normal(scale=1 / np.sqrt(hidden), size=(hidden, hidden)),
        np.zeros((hidden, 1)),
        rng.normal(scale=1 / np.sqrt(hidden), size=(len(VOCAB), hidden)),
        np.zeros((len(VOCAB), 1)),
    )


def rnn(params, x, h0):
    U, W, b, V, c = params
    states, probs = [h0], []
    for x_t in x:
        states.append(np.tanh(U @ x_t + W @ states[-1] + b))
        logits = V @ states[-1] + c
        e = np.exp(logits - logits.max(axis=0, keepdims=True))
        probs.append(e / e.sum(axis=0, keepdims=True))
    return np.array(states), np.array(probs)


def cross_entropy(probs, y):
    return -np.sum(y * np.log(probs + 1e-12)) / (y.shape[0] * y.shape[2])


def grad(params, x, y, states, probs):
    U, W, b, V, c = params
    dz = (probs - y) / (y.shape[0] * y.shape[2])
    dU, dW, db, dV, dc = (0 * p for p in params)
    back = 0 * states[0]
    for t in reversed(range(len(x))):
        dV = dV + dz[t] @ states[t + 1].T
        dc = dc + dz[t].sum(axis=1, keepdims=True)
        da = (V.T @ dz[t] + back) * (1 - states[t + 1] ** 2)
        dU = dU + da @ x[t].T
        dW = dW + da @ states[t].T
        db = db + da.sum(axis=1, keepdims=True)
        back = W.T @ da
    return dU, dW, db, dV, dc


def clip(grads, limit):
    norm = np.sqrt(sum((g ** 2).sum() for g in grads))
    return tuple(g * min(1.0, limit / (norm + 1e-12)) for g in grads)


def sgd(params, grads, lr):
    return tuple(p - lr * g for p, g in zip(params, grads))


def main(epochs=60, hidden=24, batch_size=16, lr=0.5):
    rng = np.random.default_rng(2024)
    corpus = sequences(rng, 128)
    params = init_params(rng, hidden)
    curve = []
    for epoch in range(epochs):
        corpus = corpus[:, rng.permutation(corpus.shape[1])]
        losses = []
        for k in range(0, corpus.shape[1], batch_size):
            batch = corpus[:, k:k + batch_size]
            x, y = onehot(batch[:-1]), onehot(batch[1:])
            states, probs = rnn(params, x, np.zeros((hidden, x.shape[2])))
            losses.append(cross_entropy(probs, y))
            grads = grad(params, x, y, states, probs)
            params = sgd(params, clip(grads, 1.0), lr)
        curve.append(np.mean(losses))
        if (epoch + 1) % 10 == 0:
            print("epoch", epoch + 1, "cross entropy", curve[-1])
    return params, curve


if __name__ == "__main__":
    main()
