#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""Sentiment of short reviews with word embeddings and an LSTM, minibatches padded in front."""
import random
import numpy as np

POS = "good great lovely fine wonderful superb".split()
NEG = "bad awful poor dull terrible boring".split()
FILL = "the a film was story actor and it this plot with scene".split()
PAD = 0


class Vocabulary(object):
    def __init__(self, words):
        self.index = {w: i + 1 for i, w in enumerate(sorted(set(words)))}

    def __len__(self):
        return len(self.index) + 1

    def encode(self, words, length):
        ids = [self.index[w] for w in words][-length:]
        return [PAD] * (length - len(ids)) + ids


def make_reviews(n):
    reviews = []
    for _ in range(n):
        label = random.randint(0, 1)
        words = [random.choice(FILL) for _ in range(random.randint(4, 9))]
        for _ in range(2):
            words.insert(random.randrange(len(words)), random.choice(POS if label else NEG))
        reviews.append((words, label))
    return reviews


class SentimentLSTM(object):
    def __init__(self, vocab_size, embed=16, hidden=24):
        self.D, self.H = embed, hidden
        self.model = {}
        self.model['emb'] = np.random.randn(vocab_size, embed) * 0.3
        self.model['W'] = np.random.randn(embed + hidden, 4 * hidden) / np.sqrt(embed + hidden)
        self.model['b'] = np.zeros((1, 4 * hidden))
        self.model['w_out'] = np.random.randn(hidden, 1) / np.sqrt(hidden)
        self.model['b_out'] = np.zeros((1, 1))

    def forward(self, ids):
        m, H = self.model, self.H
        n, T = ids.shape
        h, c = np.zeros((n, H)), np.zeros((n, H))
        self.cache = []
        for t in range(T):
            z = np.hstack([m['emb'][ids[:, t]], h])
            a = z.dot(m['W']) + m['b']
            gates = 1. / (1. + np.exp(-a[:, :3 * H]))
            i, f, o = gates[:, :H], gates[:, H:2 * H], gates[:, 2 * H:]
            g = np.tanh(a[:, 3 * H:])
            cp, c = c, c * f + i * g
            h = o * np.tanh(c)
            self.cache.append((ids[:, t], z, i, f, o, g, cp, c))
        self.h = h
        return 1. / (1. + np.exp(-(h.dot(m['w_out']) + m['b_out'])))

    def backward(self, prob, y):
        m, H, D = self.model, self.H, self.D
        grad = {k: np.zeros_like(v) for k, v in m.items()}
        dlogit = (prob - y) / len(y)
        grad['w_out'] = self.h.T.dot(dlogit)
        grad['b_out'] = dlogit.sum(0, keepdims=True)
        dh = dlogit.dot(m['w_out'].T)
        dc = np.zeros_like(dh)
        for ids, z, i, f, o, g, cp, c in self.cache[::-1]:
            tanh_c = np.tanh(c)
            dc += dh * o * (1 - tanh_c ** 2)
            da = np.hstack([dc * g * i * (1 - i), dc * cp * f * (1 - f), dh * tanh_c * o * (1 - o), dc * i * (1 - g ** 2)])
            grad['W'] += z.T.dot(da)
            grad['b'] += da.sum(0, keepdims=True)
            dz = da.dot(m['W'].T)
            np.add.at(grad['emb'], ids, dz[:, :D])
            dh = dz[:, D:]
            dc = dc * f
        return grad


def bce(p, y):
    return -np.mean(y * np.log(p + 1e-8) + (1 - y) * np.log(1 - p + 1e-8))


def iterate(reviews, vocab, size):
    random.shuffle(reviews)
    for k in range(0, len(reviews) - size + 1, size):
        part = reviews[k:k + size]
        yield np.array([vocab.encode(w, 10) for w, _ in part]), np.array([[l] for _, l in part])


def main():
    random.seed(0)
    np.random.seed(0)
    vocab = Vocabulary(POS + NEG + FILL)
    train, dev = make_reviews(480), make_reviews(96)
    net = SentimentLSTM(len(vocab))
    h2 = {k: np.zeros_like(v) for k, v in net.model.items()}
    for epoch in range(12):
        train_loss, train_n = 0.0, 0
        for ids, y in iterate(train, vocab, 16):
            p = net.forward(ids)
            batch_loss = bce(p, y)
            train_loss += batch_loss * len(y)
            train_n += len(y)
            grad = net.backward(p, y)
            for k in grad:
                h2[k] += grad[k] ** 2
                net.model[k] -= 0.1 * grad[k] / (np.sqrt(h2[k]) + 1e-7)
        dev_loss, dev_n = 0.0, 0
        for ids, y in iterate(dev, vocab, 16):
            dev_loss += bce(net.forward(ids), y) * len(y)
            dev_n += len(y)
        train_loss /= train_n
        dev_loss /= dev_n
        print('epoch %d: train %.4f dev %.4f' % (epoch, train_loss, dev_loss))


if __name__ == '__main__':
    main()
