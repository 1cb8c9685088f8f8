"""Smooths a noisy random walk: at each step the mean of the last three values."""
import numpy as np
from rnn_model import Model

config = {'seed': 4, 'units': 24, 'inputs': 1, 'outputs': 1, 'length': 12, 'batch': 16, 'rate': 0.1, 'iterations': 600}


def walks(rng):
    steps = rng.normal(0, .5, (config['length'] + 2, config['batch']))
    averages = np.stack([steps[k:k + 3].mean(axis=0) for k in range(config['length'])])
    return [s[None] for s in steps[2:]], [a[None] for a in averages]


rng = np.random.RandomState(14)
model = Model(config)
history = []
for iteration in range(config['iterations']):
    xs, targets = walks(rng)
    history.append(model.train_step(xs, targets, config['rate']))
    if iteration % 100 == 99:
        print('after %d iterations: %.5f' % (iteration + 1, np.mean(history[-100:])))
