# LSTM on characters, from scratch. One sequence at a time, Adagrad.
import numpy as np, os

text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'river.txt')).read()
chars = sorted(list(set(text)))
V = len(chars)
c2i = {c: i for i, c in enumerate(chars)}
i2c = {i: c for c, i in c2i.items()}

H = 48
T = 20
lr = 0.1
Z = H + V

np.random.seed(3)
Wf = np.random.randn(H, Z) / np.sqrt(Z)
Wi = np.random.randn(H, Z) / np.sqrt(Z)
Wc = np.random.randn(H, Z) / np.sqrt(Z)
Wo = np.random.randn(H, Z) / np.sqrt(Z)
Wy = np.random.randn(V, H) / np.sqrt(H)
bf = np.ones((H, 1))
bi = np.zeros((H, 1))
bc = np.zeros((H, 1))
bo = np.zeros((H, 1))
by = np.zeros((V, 1))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forward(x, h_prev, c_prev):
    z = np.vstack((h_prev, x))
    f = sigmoid(Wf @ z + bf)
    i = sigmoid(Wi @ z + bi)
    g = np.tanh(Wc @ z + bc)
    c = f * c_prev + i * g
    o = sigmoid(Wo @ z + bo)
    h = o * np.tanh(c)
    y = Wy @ h + by
    p = np.exp(y - y.max())
    return z, f, i, g, c, o, h, p / p.sum()


def lossFun(inputs, targets, hprev, cprev):
    cache, hs, cs = {}, {-1: hprev}, {-1: cprev}
    loss = 0
    for t in range(len(inputs)):
        x = np.zeros((V, 1))
        x[inputs[t]] = 1
        cache[t] = forward(x, hs[t - 1], cs[t - 1])
        cs[t], hs[t] = cache[t][4], cache[t][6]
        loss += -np.log(cache[t][7][targets[t], 0])

    dWf, dWi, dWc, dWo, dWy = [np.zeros_like(w) for w in (Wf, Wi, Wc, Wo, Wy)]
    dbf, dbi, dbc, dbo, dby = [np.zeros_like(b) for b in (bf, bi, bc, bo, by)]
    dh_next, dc_next = np.zeros((H, 1)), np.zeros((H, 1))
    for t in reversed(range(len(inputs))):
        z, f, i, g, c, o, h, p = cache[t]
        dy = p.copy()
        dy[targets[t]] -= 1
        dWy += dy @ h.T
        dby += dy
        dh = Wy.T @ dy + dh_next
        do = dh * np.tanh(c) * o * (1 - o)
        dc = dc_next + dh * o * (1 - np.tanh(c) ** 2)
        dg = dc * i * (1 - g ** 2)
        di = dc * g * i * (1 - i)
        df = dc * cs[t - 1] * f * (1 - f)
        dWf += df @ z.T
        dWi += di @ z.T
        dWc += dg @ z.T
        dWo += do @ z.T
        dbf += df
        dbi += di
        dbc += dg
        dbo += do
        dz = Wf.T @ df + Wi.T @ di + Wc.T @ dg + Wo.T @ do
        dh_next = dz[:H]
        dc_next = f * dc
    return loss, [dWf, dWi, dWc, dWo, dWy, dbf, dbi, dbc, dbo, dby], hs[len(inputs) - 1], cs[len(inputs) - 1]


params = [Wf, Wi, Wc, Wo, Wy, bf, bi, bc, bo, by]
memory = [np.zeros_like(p) for p in params]
position = 0
smooth_loss = -np.log(1.0 / V) * T
for it in range(3001):
    if position + T + 1 > len(text) or it == 0:
        hprev, cprev = np.zeros((H, 1)), np.zeros((H, 1))
        position = 0
    inputs = [c2i[c] for c in text[position:position + T]]
    targets = [c2i[c] for c in text[position + 1:position + T + 1]]
    h_in, c_in = hprev, cprev
    loss, grads, hprev, cprev = lossFun(inputs, targets, h_in, c_in)
    smooth_loss = 0.99 * smooth_loss + 0.01 * loss
    for g in grads:
        np.clip(g, -5, 5, out=g)
    for p, g, m in zip(params, grads, memory):
        m += g * g
        p -= lr * g / np.sqrt(m + 1e-8)
    position += T
    if it % 100 == 0:
        print('iter', it, 'loss', smooth_loss)
