import numpy as np


def loss_and_gradient(logits, targets):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    t, b = np.indices(targets.shape)
    loss = -np.log(p[t, b, targets] + 1e-12).mean()
    p[t, b, targets] -= 1
    return loss, p / targets.size


class Trainer:
    def __init__(self, model, rate=0.01, clip=2.0):
        self.model, self.rate, self.clip = model, rate, clip
        self.m, self.v, self.t = np.zeros_like(model.flat), np.zeros_like(model.flat), 0
        self.log = []

    def step(self, xs, targets):
        logits = self.model.forward(xs)
        loss, dlogits = loss_and_gradient(logits, targets)
        self.model.backward(dlogits)
        gradient = self.model.flat_grad
        norm = np.linalg.norm(gradient)
        if norm > self.clip:
            gradient *= self.clip / norm
        self.t += 1
        self.m += 0.1 * (gradient - self.m)
        self.v += 0.001 * (gradient ** 2 - self.v)
        self.model.flat -= self.rate * (self.m / (1 - 0.9 ** self.t)) / (np.sqrt(self.v / (1 - 0.999 ** self.t)) + 1e-8)
        return loss

    def train(self, batches, report=50):
        for xs, targets in batches:
            loss = self.step(xs, targets)
            self.log.append(loss)
            if len(self.log) % report == 0:
                print("%d %.4f" % (len(self.log), np.mean(self.log[-report:])))
