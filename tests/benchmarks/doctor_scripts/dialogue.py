# -*- coding: utf-8 -*-
import argparse
import os

import numpy as np


class GRUModel:
    """x_t and h_t are concatenated rows. Batches of independent lines of a text, cut to one length."""

    def __init__(self, n_chars, n_hidden, rng):
        self.n_chars, self.n_hidden = n_chars, n_hidden
        shape, scale = (n_chars + n_hidden, n_hidden), np.sqrt(1.0 / (n_chars + n_hidden))
        self.Wz, self.bz = rng.standard_normal(shape) * scale, np.zeros(n_hidden)
        self.Wr, self.br = rng.standard_normal(shape) * scale, np.zeros(n_hidden)
        self.Wh, self.bh = rng.standard_normal(shape) * scale, np.zeros(n_hidden)
        self.Wo, self.bo = rng.standard_normal((n_hidden, n_chars)) * np.sqrt(1.0 / n_hidden), np.zeros(n_chars)

    def parameters(self):
        return [self.Wz, self.bz, self.Wr, self.br, self.Wh, self.bh, self.Wo, self.bo]

    def forward(self, x):
        sig = lambda a: 1.0 / (1.0 + np.exp(-a))
        h = np.zeros((x.shape[1], self.n_hidden))
        self.saved, out = [], []
        for x_t in x:
            xh = np.hstack([x_t, h])
            z, r = sig(xh @ self.Wz + self.bz), sig(xh @ self.Wr + self.br)
            xrh = np.hstack([x_t, r * h])
            hh = np.tanh(xrh @ self.Wh + self.bh)
            self.saved.append((xh, xrh, h, z, r, hh))
            h = (1 - z) * h + z * hh
            out.append(h @ self.Wo + self.bo)
        self.h_last = h
        return np.array(out)

    def backward(self, d_out):
        g = [np.zeros_like(w) for w in self.parameters()]
        n, dh = self.n_chars, 0
        for t in range(len(d_out) - 1, -1, -1):
            xh, xrh, h, z, r, hh = self.saved[t]
            h_t = (1 - z) * h + z * hh
            g[6] += h_t.T @ d_out[t]
            g[7] += d_out[t].sum(0)
            dh = dh + d_out[t] @ self.Wo.T
            d_hh = dh * z * (1 - hh ** 2)
            d_z = dh * (hh - h) * z * (1 - z)
            d_rh = (d_hh @ self.Wh.T)[:, n:]
            d_r = d_rh * h * r * (1 - r)
            g[0] += xh.T @ d_z
            g[1] += d_z.sum(0)
            g[2] += xh.T @ d_r
            g[3] += d_r.sum(0)
            g[4] += xrh.T @ d_hh
            g[5] += d_hh.sum(0)
            dh = dh * (1 - z) + d_rh * r + (d_z @ self.Wz.T + d_r @ self.Wr.T)[:, n:]
        return g


def cross_entropy(logits, targets):
    shifted = logits - logits.max(axis=2, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    T, B = targets.shape
    tt, bb = np.ogrid[:T, :B]
    d = np.exp(log_p)
    d[tt, bb, targets] -= 1
    return -log_p[tt, bb, targets].mean(), d / (T * B)


def clip_gradients(grads, max_norm):
    norm = np.sqrt(sum(float((g * g).sum()) for g in grads))
    if norm > max_norm:
        for g in grads:
            g *= max_norm / norm
    return norm


def train(opt):
    rng = np.random.default_rng(opt.seed)
    here = os.path.dirname(os.path.abspath(__file__))
    text = open(os.path.join(here, "river.txt")).read()
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(c) for c in text])
    model = GRUModel(len(alphabet), opt.hidden, rng)
    m = [np.zeros_like(w) for w in model.parameters()]
    v = [np.zeros_like(w) for w in model.parameters()]
    t = 0
    for epoch in range(opt.epochs):
        starts = rng.permutation(len(codes) - opt.length - 1)[:320]
        sum_loss = 0.0
        for first in range(0, len(starts), opt.batch):
            pieces = np.array([codes[s:s + opt.length + 1] for s in starts[first:first + opt.batch]]).T
            x, y = np.eye(len(alphabet))[pieces[:-1]], pieces[1:]
            logits = model.forward(x)
            loss, d_logits = cross_entropy(logits, y)
            grads = model.backward(d_logits)
            clip_gradients(grads, opt.clip)
            t += 1
            for i, (w, g) in enumerate(zip(model.parameters(), grads)):
                m[i] += (1 - 0.9) * (g - m[i])
                v[i] += (1 - 0.99) * (g * g - v[i])
                w -= opt.lr * (m[i] / (1 - 0.9 ** t)) / (np.sqrt(v[i] / (1 - 0.99 ** t)) + 1e-8)
            sum_loss += loss
        mean_loss = sum_loss / (len(starts) // opt.batch)
        print("epoch {} loss {:.4f} perplexity {:.2f}".format(epoch, mean_loss, np.exp(mean_loss)))


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description="character GRU")
    ap.add_argument("--hidden", default=40, type=int)
    ap.add_argument("--length", default=18, type=int)
    ap.add_argument("--batch", default=16, type=int)
    ap.add_argument("--epochs", default=15, type=int)
    ap.add_argument("--lr", default=0.01, type=float)
    ap.add_argument("--clip", default=1.0, type=float)
    ap.add_argument("--seed", default=0, type=int)
    train(ap.parse_args())
