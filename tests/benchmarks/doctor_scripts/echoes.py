#!/usr/bin/env python3
"""Echo task. python echoes.py --hidden 32 --lr 0.01"""
import argparse

import numpy as np


def batches(rng, steps, batch, length, delay):
    """Yields inputs and targets of shape (batch, length)."""
    for _ in range(steps):
        bits = rng.integers(0, 2, size=(batch, length + delay))
        yield bits[:, delay:], bits[:, :length]


class Net:
    def __init__(self, rng, hidden):
        k = hidden ** -0.5
        self.hidden = hidden
        self.wx = rng.uniform(-1, 1, (1, hidden))
        self.wh = rng.uniform(-k, k, (hidden, hidden))
        self.bh = np.zeros(hidden)
        self.wo = rng.uniform(-k, k, (hidden, 1))
        self.bo = np.zeros(1)

    def params(self):
        return [self.wx, self.wh, self.bh, self.wo, self.bo]

    def loss_and_grads(self, inputs, targets):
        b, length = inputs.shape
        x = 2.0 * inputs[..., None] - 1
        hs = np.zeros((length + 1, b, self.hidden))
        for t in range(length):
            hs[t + 1] = np.tanh(x[:, t] @ self.wx + hs[t] @ self.wh + self.bh)
        z = (hs[1:] @ self.wo + self.bo)[..., 0].T
        p = 1 / (1 + np.exp(-z))
        loss = -np.mean(targets * np.log(p + 1e-9) + (1 - targets) * np.log(1 - p + 1e-9))
        dz = (p - targets) / targets.size
        g = [np.zeros_like(w) for w in self.params()]
        dnext = np.zeros((b, self.hidden))
        for t in reversed(range(length)):
            g[3] += hs[t + 1].T @ dz[:, t:t + 1]
            g[4] += dz[:, t].sum()
            dh = dz[:, t:t + 1] @ self.wo.T + dnext
            da = dh * (1 - hs[t + 1] ** 2)
            g[0] += x[:, t].T @ da
            g[1] += hs[t].T @ da
            g[2] += da.sum(axis=0)
            dnext = da @ self.wh.T
        return loss, g


def run(args):
    rng = np.random.default_rng(args.seed)
    net = Net(rng, args.hidden)
    m = [np.zeros_like(w) for w in net.params()]
    v = [np.zeros_like(w) for w in net.params()]
    for t, (inputs, targets) in enumerate(batches(rng, args.steps, args.batch, args.length, args.delay), 1):
        loss, grads = net.loss_and_grads(inputs, targets)
        for i, w in enumerate(net.params()):
            m[i] = 0.9 * m[i] + 0.1 * grads[i]
            v[i] = 0.999 * v[i] + 0.001 * grads[i] ** 2
            w -= args.lr * (m[i] / (1 - 0.9 ** t)) / (np.sqrt(v[i] / (1 - 0.999 ** t)) + 1e-8)
        if t % args.every == 0:
            print(f"[{t}] loss={loss:.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--length", type=int, default=14)
    parser.add_argument("--delay", type=int, default=3)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=5)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
