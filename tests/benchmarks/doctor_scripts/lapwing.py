import os, time
import numpy as np

# character GRU as a class; forward, backward and update in train(); unseeded; runs until ctrl-c

class GRUNetwork:
    def __init__(self, data_path, hidden_size=48, sequence_length=20, learning_rate=1e-1):
        self.data = open(data_path, 'r').read()
        self.chars = sorted(set(self.data))
        self.vocab_size = len(self.chars)
        self.encode = {c: i for i, c in enumerate(self.chars)}
        self.decode = {i: c for i, c in enumerate(self.chars)}
        self.hidden_size, self.sequence_length, self.learning_rate = hidden_size, sequence_length, learning_rate
        sd, n, v = 0.1, hidden_size, self.vocab_size
        self.W = dict(z=np.random.randn(n, v) * sd, r=np.random.randn(n, v) * sd, h=np.random.randn(n, v) * sd,
                      y=np.random.randn(v, n) * sd)
        self.U = dict(z=np.random.randn(n, n) * sd, r=np.random.randn(n, n) * sd, h=np.random.randn(n, n) * sd)
        self.b = dict(z=np.zeros((n, 1)), r=np.zeros((n, 1)), h=np.zeros((n, 1)), y=np.zeros((v, 1)))
        self.memory = {(a, k): np.zeros_like(x) for a, group in self.groups() for k, x in group.items()}

    def groups(self):
        return [('W', self.W), ('U', self.U), ('b', self.b)]

    def sigmoid(self, x):
        return 1 / (1 + np.exp(-x))

    def forward(self, inputs, targets, h):
        W, U, b = self.W, self.U, self.b
        self.steps, loss = [], 0
        for i, target in zip(inputs, targets):
            x = np.zeros((self.vocab_size, 1)); x[i] = 1
            z = self.sigmoid(W['z'] @ x + U['z'] @ h + b['z'])
            r = self.sigmoid(W['r'] @ x + U['r'] @ h + b['r'])
            hc = np.tanh(W['h'] @ x + U['h'] @ (r * h) + b['h'])
            hn = z * h + (1 - z) * hc
            y = W['y'] @ hn + b['y']
            p = np.exp(y - np.max(y)); p = p / np.sum(p)
            loss += -np.log(p[target, 0])
            self.steps.append((x, h, z, r, hc, hn, p, target))
            h = hn
        return loss, h

    def backward(self):
        W, U = self.W, self.U
        grads = {(a, k): np.zeros_like(x) for a, group in self.groups() for k, x in group.items()}
        dh = np.zeros((self.hidden_size, 1))
        for x, h, z, r, hc, hn, p, target in reversed(self.steps):
            dy = p.copy(); dy[target] -= 1
            grads['W', 'y'] += dy @ hn.T
            grads['b', 'y'] += dy
            dh = dh + W['y'].T @ dy
            dhc = dh * (1 - z) * (1 - hc * hc)
            drh = U['h'].T @ dhc
            dr = drh * h * r * (1 - r)
            dz = dh * (h - hc) * z * (1 - z)
            for k, d, state in (('z', dz, h), ('r', dr, h), ('h', dhc, r * h)):
                grads['W', k] += d @ x.T
                grads['U', k] += d @ state.T
                grads['b', k] += d
            dh = dh * z + drh * r + U['z'].T @ dz + U['r'].T @ dr
        for key in grads:
            grads[key] = np.clip(grads[key], -5, 5)
        return grads

    def update(self, grads):
        for a, group in self.groups():
            for k in group:
                self.memory[a, k] += grads[a, k] ** 2
                group[k] -= self.learning_rate * grads[a, k] / np.sqrt(self.memory[a, k] + 1e-8)

    def sample(self, h, i, n):
        out = []
        for _ in range(n):
            _, h = self.forward([i], [0], h)
            i = np.random.choice(self.vocab_size, p=self.steps[-1][6].ravel())
            out.append(self.decode[i])
        return ''.join(out)

    def train(self):
        iteration, position, smooth_loss = 0, 0, -np.log(1 / self.vocab_size) * self.sequence_length
        h_prev = np.zeros((self.hidden_size, 1))
        started = time.time()
        while True:
            if position + self.sequence_length + 1 >= len(self.data):
                h_prev, position = np.zeros((self.hidden_size, 1)), 0
            x = [self.encode[c] for c in self.data[position:position + self.sequence_length]]
            y = [self.encode[c] for c in self.data[position + 1:position + self.sequence_length + 1]]
            h_first = h_prev
            loss, h_prev = self.forward(x, y, h_first)
            grads = self.backward()
            self.update(grads)
            smooth_loss = 0.99 * smooth_loss + 0.01 * loss
            if iteration % 100 == 0:
                print('[%6.1f s] iteration %d, smooth loss %.2f' % (time.time() - started, iteration, smooth_loss))
                print(self.sample(h_prev, x[0], 60))
            iteration += 1
            position += self.sequence_length


if __name__ == '__main__':
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        GRUNetwork(os.path.join(here, 'river.txt')).train()
    except KeyboardInterrupt:
        pass
