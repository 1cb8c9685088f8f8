import numpy as np


class RMSProp:
    def __init__(self, layers, lr=0.01, rho=0.9, max_norm=5.0):
        self.layers, self.lr, self.rho, self.max_norm = layers, lr, rho, max_norm
        self.mean_square = [{k: np.zeros_like(v) for k, v in layer.params.items()} for layer in layers]

    def clip(self):
        total = np.sqrt(sum((g ** 2).sum() for layer in self.layers for g in layer.grads.values()))
        if total > self.max_norm:
            for layer in self.layers:
                for g in layer.grads.values():
                    g *= self.max_norm / total

    def update(self):
        self.clip()
        for layer, ms in zip(self.layers, self.mean_square):
            for k, g in layer.grads.items():
                ms[k] = self.rho * ms[k] + (1 - self.rho) * g * g
                layer.params[k] -= self.lr * g / (np.sqrt(ms[k]) + 1e-8)
