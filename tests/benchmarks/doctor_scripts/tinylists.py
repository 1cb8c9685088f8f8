# A tiny RNN without NumPy: nested lists of floats. It learns to say whether it has seen a 1 an odd number of times.
import math
import random

random.seed(4)
H = 6


def rand_matrix(rows, cols, scale):
    return [[random.gauss(0, scale) for _ in range(cols)] for _ in range(rows)]


wx = rand_matrix(H, 1, 1.0)
wh = rand_matrix(H, H, 0.6)
bias = [0.0] * H
wo = rand_matrix(1, H, 0.6)
bo = [0.0]


def forward(bits):
    hs = [[0.0] * H]
    for bit in bits:
        prev = hs[-1]
        hs.append([
            math.tanh(wx[i][0] * bit + sum(wh[i][j] * prev[j] for j in range(H)) + bias[i]) for i in range(H)
        ])
    z = sum(wo[0][j] * hs[-1][j] for j in range(H)) + bo[0]
    return hs, 1.0 / (1.0 + math.exp(-z))


def loss_fn(p, y):
    return -(y * math.log(p + 1e-12) + (1 - y) * math.log(1 - p + 1e-12))


def zeros():
    return ([[0.0] for _ in range(H)], [[0.0] * H for _ in range(H)], [0.0] * H, [[0.0] * H], [0.0])


def accumulate(bits, y, hs, p, grads, scale):
    gwx, gwh, gb, gwo, gbo = grads
    dz = (p - y) * scale
    gbo[0] += dz
    dh = [0.0] * H
    for j in range(H):
        gwo[0][j] += dz * hs[-1][j]
        dh[j] = dz * wo[0][j]
    for t in range(len(bits) - 1, -1, -1):
        da = [dh[i] * (1 - hs[t + 1][i] ** 2) for i in range(H)]
        for i in range(H):
            gwx[i][0] += da[i] * bits[t]
            gb[i] += da[i]
            for j in range(H):
                gwh[i][j] += da[i] * hs[t][j]
        dh = [sum(wh[i][j] * da[i] for i in range(H)) for j in range(H)]


rate = 0.5
for step in range(1500):
    batch = [[random.choice([0, 1]) for _ in range(3)] for _ in range(8)]
    grads = zeros()
    loss = 0.0
    for bits in batch:
        y = sum(bits) % 2
        hs, p = forward(bits)
        loss += loss_fn(p, y) / len(batch)
        accumulate(bits, y, hs, p, grads, 1 / len(batch))
    gwx, gwh, gb, gwo, gbo = grads
    for i in range(H):
        wx[i][0] -= rate * gwx[i][0]
        bias[i] -= rate * gb[i]
        wo[0][i] -= rate * gwo[0][i]
        for j in range(H):
            wh[i][j] -= rate * gwh[i][j]
    bo[0] -= rate * gbo[0]
    if step % 100 == 0:
        print(step, round(loss, 4))
