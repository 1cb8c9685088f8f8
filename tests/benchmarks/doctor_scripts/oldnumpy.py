import numpy as np

rng = np.random.RandomState(1)
n, d = 12, 3
params = {
    'U': (rng.rand(n, d) - 0.5).astype(np.float),
    'W': (rng.rand(n, n) - 0.5).astype(np.float),
    'v': (rng.rand(1, n) - 0.5).astype(np.float),
}


def loss_and_grads(xs, y):
    hs = [np.zeros((n, 1))]
    for x in xs:
        hs.append(np.tanh(params['U'].dot(x[:, None]) + params['W'].dot(hs[-1])))
    err = params['v'].dot(hs[-1]) - y
    g = {'U': np.zeros((n, d)), 'W': np.zeros((n, n)), 'v': err * hs[-1].T}
    dh = params['v'].T * err
    for t in range(len(xs) - 1, -1, -1):
        dh = dh * (1 - hs[t + 1] ** 2)
        g['U'] += dh.dot(xs[t][None, :])
        g['W'] += dh.dot(hs[t].T)
        dh = params['W'].T.dot(dh)
    return 0.5 * (err ** 2).item(), g


for it in range(500):
    xs = rng.rand(5, d)
    loss, g = loss_and_grads(xs, xs.max())
    for k in params:
        params[k] -= 0.1 * g[k]
    if it % 50 == 0:
        print('%d: %f' % (it, loss))
