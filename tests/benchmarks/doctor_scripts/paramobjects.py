import os
import numpy as np

"""LSTM in which each parameter is an object with value, derivative and momentum."""

data = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'river.txt'), 'r').read()[:1000]
chars = sorted(set(data))
X_size = len(chars)
char_to_idx = {ch: i for i, ch in enumerate(chars)}

H_size = 40
T_steps = 16
learning_rate = 0.05
weight_sd = 0.2
z_size = H_size + X_size

rand = np.random.RandomState(17)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Param:
    def __init__(self, name, value):
        self.name = name
        self.v = value
        self.d = np.zeros_like(value)
        self.m = np.zeros_like(value)


class Parameters:
    def __init__(self):
        self.W_f = Param('W_f', rand.randn(H_size, z_size) * weight_sd + 0.5 / z_size)
        self.b_f = Param('b_f', np.zeros((H_size, 1)))
        self.W_i = Param('W_i', rand.randn(H_size, z_size) * weight_sd + 0.5 / z_size)
        self.b_i = Param('b_i', np.zeros((H_size, 1)))
        self.W_C = Param('W_C', rand.randn(H_size, z_size) * weight_sd)
        self.b_C = Param('b_C', np.zeros((H_size, 1)))
        self.W_o = Param('W_o', rand.randn(H_size, z_size) * weight_sd + 0.5 / z_size)
        self.b_o = Param('b_o', np.zeros((H_size, 1)))
        self.W_v = Param('W_v', rand.randn(X_size, H_size) * weight_sd)
        self.b_v = Param('b_v', np.zeros((X_size, 1)))

    def all(self):
        return [self.W_f, self.W_i, self.W_C, self.W_o, self.W_v, self.b_f, self.b_i, self.b_C, self.b_o, self.b_v]


parameters = Parameters()


def forward(x, h_prev, C_prev, p=parameters):
    z = np.vstack((h_prev, x))
    f = sigmoid(np.dot(p.W_f.v, z) + p.b_f.v)
    i = sigmoid(np.dot(p.W_i.v, z) + p.b_i.v)
    C_bar = np.tanh(np.dot(p.W_C.v, z) + p.b_C.v)
    C = f * C_prev + i * C_bar
    o = sigmoid(np.dot(p.W_o.v, z) + p.b_o.v)
    h = o * np.tanh(C)
    v = np.dot(p.W_v.v, h) + p.b_v.v
    y = np.exp(v) / np.sum(np.exp(v))
    return z, f, i, C_bar, C, o, h, y


def backward(target, dh_next, dC_next, C_prev, z, f, i, C_bar, C, o, h, y, p=parameters):
    dv = np.copy(y)
    dv[target] -= 1
    p.W_v.d += np.dot(dv, h.T)
    p.b_v.d += dv
    dh = np.dot(p.W_v.v.T, dv) + dh_next
    do = sigmoid_back(o, dh * np.tanh(C))
    p.W_o.d += np.dot(do, z.T)
    p.b_o.d += do
    dC = dC_next + dh * o * (1 - np.tanh(C) ** 2)
    dC_bar = (1 - C_bar ** 2) * dC * i
    p.W_C.d += np.dot(dC_bar, z.T)
    p.b_C.d += dC_bar
    di = sigmoid_back(i, dC * C_bar)
    p.W_i.d += np.dot(di, z.T)
    p.b_i.d += di
    df = sigmoid_back(f, dC * C_prev)
    p.W_f.d += np.dot(df, z.T)
    p.b_f.d += df
    dz = (np.dot(p.W_f.v.T, df) + np.dot(p.W_i.v.T, di) + np.dot(p.W_C.v.T, dC_bar) + np.dot(p.W_o.v.T, do))
    return dz[:H_size, :], f * dC


def sigmoid_back(s, d):
    return s * (1 - s) * d


def clear_gradients():
    for p in parameters.all():
        p.d.fill(0)


def forward_backward(inputs, targets, h_prev, C_prev):
    steps, hs, Cs = [], [h_prev], [C_prev]
    loss = 0
    for t in range(len(inputs)):
        x = np.zeros((X_size, 1))
        x[inputs[t]] = 1
        steps.append(forward(x, hs[-1], Cs[-1]))
        hs.append(steps[-1][6])
        Cs.append(steps[-1][4])
        loss += -np.log(steps[-1][7][targets[t], 0])
    clear_gradients()
    dh_next, dC_next = np.zeros_like(h_prev), np.zeros_like(C_prev)
    for t in reversed(range(len(inputs))):
        dh_next, dC_next = backward(targets[t], dh_next, dC_next, Cs[t], *steps[t])
    for p in parameters.all():
        np.clip(p.d, -1, 1, out=p.d)
    return loss, hs[-1], Cs[-1]


def update_parameters():
    for p in parameters.all():
        p.m += p.d * p.d
        p.v += -(learning_rate * p.d / np.sqrt(p.m + 1e-8))


smooth_loss = -np.log(1.0 / X_size) * T_steps
iteration, pointer = 0, 0
g_h_prev, g_C_prev = np.zeros((H_size, 1)), np.zeros((H_size, 1))
while True:
    if pointer + T_steps >= len(data) or iteration == 0:
        g_h_prev = np.zeros((H_size, 1))
        g_C_prev = np.zeros((H_size, 1))
        pointer = 0
    inputs = [char_to_idx[ch] for ch in data[pointer: pointer + T_steps]]
    targets = [char_to_idx[ch] for ch in data[pointer + 1: pointer + T_steps + 1]]
    loss, g_h_prev, g_C_prev = forward_backward(inputs, targets, g_h_prev, g_C_prev)
    smooth_loss = smooth_loss * 0.999 + loss * 0.001
    if iteration % 200 == 0:
        print('iter %d, loss %f' % (iteration, smooth_loss))
    update_parameters()
    pointer += T_steps
    iteration += 1
