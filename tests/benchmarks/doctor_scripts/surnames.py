# Which language does a surname come from? One name at a time, the last hidden state classifies.
import numpy as np
import random

random.seed(1)
np.random.seed(1)

ENDINGS = {
    'Russian': ['ov', 'sky', 'enko', 'in'],
    'Italian': ['elli', 'ini', 'ucci', 'one'],
    'Japanese': ['moto', 'naka', 'yama', 'shi'],
}
letters = 'abcdefghijklmnopqrstuvwxyz'
languages = list(ENDINGS)


def make_name(language):
    stem = ''.join(random.choice('bdgklmnprstv') + random.choice('aeiou') for _ in range(random.randint(1, 2)))
    return stem + random.choice(ENDINGS[language])


dataset = []
for _ in range(300):
    lang = random.choice(languages)
    dataset.append((make_name(lang), languages.index(lang)))

n_in, n_hid, n_out = len(letters), 32, len(languages)
Wx = np.random.randn(n_hid, n_in) * np.sqrt(1 / n_in)
Wh = np.random.randn(n_hid, n_hid) * np.sqrt(1 / n_hid)
Wo = np.random.randn(n_out, n_hid) * np.sqrt(1 / n_hid)
bh = np.zeros(n_hid)
bo = np.zeros(n_out)
weights = [Wx, Wh, Wo, bh, bo]


def encode(name):
    x = np.zeros((len(name), n_in))
    for i, ch in enumerate(name):
        x[i, letters.index(ch)] = 1
    return x


def run(x):
    h = [np.zeros(n_hid)]
    for step in x:
        h.append(np.tanh(Wx.dot(step) + Wh.dot(h[-1]) + bh))
    z = Wo.dot(h[-1]) + bo
    e = np.exp(z - z.max())
    return h, e / e.sum()


def loss_of(probs, label):
    return -np.log(probs[label])


def backprop(x, h, probs, label):
    dz = probs.copy()
    dz[label] -= 1
    grads = [np.zeros_like(w) for w in weights]
    grads[2] = np.outer(dz, h[-1])
    grads[4] = dz
    dh = Wo.T.dot(dz)
    for t in range(len(x) - 1, -1, -1):
        da = dh * (1 - h[t + 1] ** 2)
        grads[0] += np.outer(da, x[t])
        grads[1] += np.outer(da, h[t])
        grads[3] += da
        dh = Wh.T.dot(da)
    return grads


alpha = 0.05
for epoch in range(5):
    random.shuffle(dataset)
    epoch_loss = 0
    hits = 0
    for name, label in dataset:
        x = encode(name)
        h, probs = run(x)
        cost = loss_of(probs, label)
        epoch_loss += cost
        hits += int(np.argmax(probs) == label)
        grads = backprop(x, h, probs, label)
        for w, g in zip(weights, grads):
            np.clip(g, -1, 1, out=g)
            w -= alpha * g
    print('epoch', epoch, 'loss', epoch_loss / len(dataset), 'accuracy', hits / len(dataset))
