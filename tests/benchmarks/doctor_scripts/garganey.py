import numpy as np
import argparse


def get_batches(arr, n_seqs, n_steps):
    chars_per_batch = n_seqs * n_steps
    n_batches = (len(arr) - 1) // chars_per_batch
    xs = arr[:n_batches * chars_per_batch].reshape((n_seqs, -1))
    ys = arr[1:n_batches * chars_per_batch + 1].reshape((n_seqs, -1))
    for n in range(0, xs.shape[1], n_steps):
        yield xs[:, n:n + n_steps], ys[:, n:n + n_steps]


class CharLSTM(object):
    def __init__(self, n_chars, n_hidden, seed):
        rng = np.random.RandomState(seed)
        self.n_chars, self.n_hidden = n_chars, n_hidden
        self.p = {'W': rng.randn(n_chars + n_hidden, 4 * n_hidden) * 0.08, 'b': np.zeros(4 * n_hidden),
                  'Wy': rng.randn(n_hidden, n_chars) * 0.08, 'by': np.zeros(n_chars)}
        self.p['b'][n_hidden:2 * n_hidden] = 1.0

    def init_hidden(self, n_seqs):
        return np.zeros((n_seqs, self.n_hidden)), np.zeros((n_seqs, self.n_hidden))

    def step(self, x, y, hidden):
        """Loss, gradients and the new state of one batch."""
        H, p = self.n_hidden, self.p
        h, c = hidden
        N, T = x.shape
        sig = lambda a: 1.0 / (1.0 + np.exp(-a))
        saved, loss = [], 0.0
        for t in range(T):
            inp = np.concatenate([np.eye(self.n_chars)[x[:, t]], h], axis=1)
            a = inp.dot(p['W']) + p['b']
            i, f, o, g = sig(a[:, :H]), sig(a[:, H:2 * H]), sig(a[:, 2 * H:3 * H]), np.tanh(a[:, 3 * H:])
            c_prev, c = c, f * c + i * g
            tc = np.tanh(c)
            h = o * tc
            scores = h.dot(p['Wy']) + p['by']
            probs = np.exp(scores - scores.max(axis=1, keepdims=True))
            probs /= probs.sum(axis=1, keepdims=True)
            loss -= np.sum(np.log(probs[range(N), y[:, t]]))
            saved.append((inp, i, f, o, g, c_prev, tc, h, probs))
        loss /= N * T
        grads = dict((k, np.zeros_like(v)) for k, v in p.items())
        dh, dc = np.zeros_like(h), np.zeros_like(c)
        for t in range(T)[::-1]:
            inp, i, f, o, g, c_prev, tc, h_t, probs = saved[t]
            ds = probs.copy()
            ds[range(N), y[:, t]] -= 1.0
            ds /= N * T
            grads['Wy'] += h_t.T.dot(ds)
            grads['by'] += ds.sum(axis=0)
            dh += ds.dot(p['Wy'].T)
            dc += dh * o * (1 - tc ** 2)
            da = np.concatenate([dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dh * tc * o * (1 - o),
                                 dc * i * (1 - g ** 2)], axis=1)
            grads['W'] += inp.T.dot(da)
            grads['b'] += da.sum(axis=0)
            dh = da.dot(p['W'].T)[:, self.n_chars:]
            dc = dc * f
        return loss, grads, (h, c)


class AdamOptimizer(object):
    def __init__(self, params, learning_rate):
        self.params, self.learning_rate, self.n = params, learning_rate, 0
        self.first = {k: 0.0 for k in params}
        self.second = {k: 0.0 for k in params}

    def apply_gradients(self, grads):
        self.n += 1
        for k in grads:
            self.first[k] = 0.9 * self.first[k] + 0.1 * grads[k]
            self.second[k] = 0.99 * self.second[k] + 0.01 * grads[k] ** 2
            scale = self.learning_rate * np.sqrt(1 - 0.99 ** self.n) / (1 - 0.9 ** self.n)
            self.params[k] -= scale * self.first[k] / (np.sqrt(self.second[k]) + 1e-8)


def train(net, data, opts):
    optimizer = AdamOptimizer(net.p, opts.lr)
    counter = 0
    for e in range(opts.epochs):
        hidden = net.init_hidden(opts.n_seqs)
        batch_losses = []
        for x, y in get_batches(data, opts.n_seqs, opts.n_steps):
            counter += 1
            loss, grads, hidden = net.step(x, y, hidden)
            norm = np.sqrt(sum(np.sum(g ** 2) for g in grads.values()))
            if norm > opts.clip:
                grads = {k: g * opts.clip / norm for k, g in grads.items()}
            optimizer.apply_gradients(grads)
            batch_losses.append(loss)
            if counter % 10 == 0:
                print("Epoch: {}/{}... Step: {}... Loss: {:.4f}".format(e + 1, opts.epochs, counter, loss))
        mean_loss = np.mean(batch_losses)
        print("Epoch", e + 1, "mean loss", mean_loss)


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--lr', type=float, default=0.01)
    parser.add_argument('--epochs', type=int, default=30)
    parser.add_argument('--n_seqs', type=int, default=6)
    parser.add_argument('--n_steps', type=int, default=12)
    parser.add_argument('--clip', type=float, default=5.0)
    opts = parser.parse_args()
    text = open('river.txt').read()
    chars = tuple(sorted(set(text)))
    char2int = {ch: ii for ii, ch in enumerate(chars)}
    encoded = np.array([char2int[ch] for ch in text])
    train(CharLSTM(len(chars), 32, 0), encoded, opts)
