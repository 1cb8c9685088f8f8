"""
An LSTM made of cell objects, one for each time step. Truncated BPTT over parallel streams; h and c are carried.
The task: the stream is a noisy counter modulo five.
"""
import numpy as np

np.random.seed(21)
S, B, H, K = 10, 12, 30, 5


def sigmoid(v):
    return 1.0 / (1.0 + np.exp(-v))


class Cell:
    def __init__(self, weights):
        self.w = weights

    def forward(self, x, h_prev, c_prev):
        self.x, self.h_prev, self.c_prev = x, h_prev, c_prev
        w = self.w
        self.i = sigmoid(w["Wi"] @ x + w["Ui"] @ h_prev + w["bi"])
        self.f = sigmoid(w["Wf"] @ x + w["Uf"] @ h_prev + w["bf"])
        self.o = sigmoid(w["Wo"] @ x + w["Uo"] @ h_prev + w["bo"])
        self.g = np.tanh(w["Wg"] @ x + w["Ug"] @ h_prev + w["bg"])
        self.c = self.f * c_prev + self.i * self.g
        self.h = self.o * np.tanh(self.c)
        return self.h, self.c

    def backward(self, dh, dc, grads):
        w, tc = self.w, np.tanh(self.c)
        dc = dc + dh * self.o * (1 - tc ** 2)
        deltas = {
            "i": dc * self.g * self.i * (1 - self.i),
            "f": dc * self.c_prev * self.f * (1 - self.f),
            "o": dh * tc * self.o * (1 - self.o),
            "g": dc * self.i * (1 - self.g ** 2),
        }
        dh_prev = np.zeros_like(dh)
        for gate, delta in deltas.items():
            grads["W" + gate] += delta @ self.x.T
            grads["U" + gate] += delta @ self.h_prev.T
            grads["b" + gate] += delta.sum(axis=1, keepdims=True)
            dh_prev += w["U" + gate].T @ delta
        return dh_prev, dc * self.f


weights = {}
for gate in "ifog":
    weights["W" + gate] = np.random.randn(H, K) * 0.3
    weights["U" + gate] = np.random.randn(H, H) / np.sqrt(H)
    weights["b" + gate] = np.full((H, 1), 1.0 if gate == "f" else 0.0)
weights["V"] = np.random.randn(K, H) / np.sqrt(H)
weights["bv"] = np.zeros((K, 1))
speed = {name: np.zeros_like(w) for name, w in weights.items()}


def run(xs, ys, h, c):
    cells, probs, loss = [], [], 0.0
    for x, y in zip(xs, ys):
        cell = Cell(weights)
        h, c = cell.forward(x, h, c)
        z = weights["V"] @ h + weights["bv"]
        e = np.exp(z - z.max(axis=0))
        p = e / e.sum(axis=0)
        loss += -np.log((p * y).sum(axis=0)).mean()
        cells.append(cell)
        probs.append(p)
    return cells, probs, loss / len(xs), h, c


def bptt(cells, probs, ys):
    grads = {name: np.zeros_like(w) for name, w in weights.items()}
    dh, dc = np.zeros((H, B)), np.zeros((H, B))
    for cell, p, y in zip(cells[::-1], probs[::-1], ys[::-1]):
        dz = (p - y) / (B * len(ys))
        grads["V"] += dz @ cell.h.T
        grads["bv"] += dz.sum(axis=1, keepdims=True)
        dh, dc = cell.backward(dh + weights["V"].T @ dz, dc, grads)
    return grads


counter = np.random.randint(0, K, B)
h, c = np.zeros((H, B)), np.zeros((H, B))
last = counter
for chunk in range(1, 601):
    symbols = [last]
    for _ in range(S):
        counter = (counter + np.where(np.random.rand(B) < 0.9, 1, 2)) % K
        symbols.append(counter)
    last = symbols[-1]
    onehots = [np.eye(K)[s].T for s in symbols]
    xs, ys = onehots[:-1], onehots[1:]
    h0, c0 = h, c
    cells, probs, loss, h, c = run(xs, ys, h0, c0)
    grads = bptt(cells, probs, ys)
    norm = np.sqrt(sum(np.sum(g ** 2) for g in grads.values()))
    for name in weights:
        if norm > 1:
            grads[name] /= norm
        speed[name] = 0.9 * speed[name] - 0.3 * grads[name]
        weights[name] += speed[name]
    if chunk % 100 == 0:
        print(f"chunk {chunk}: loss {loss:.4f}, gradient norm {norm:.3f}")
