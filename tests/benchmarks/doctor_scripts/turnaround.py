"""Encoder and decoder, both GRUs: says a word backwards. The decoder starts from the encoder's last state."""
import numpy as np

rs = np.random.RandomState(16)
A, L, N, B = 5, 3, 32, 20  # letters, length, units, batch


def weights(n_in):
    return {
        'Wzr': rs.randn(2 * N, n_in) * 0.3, 'Uzr': rs.randn(2 * N, N) / np.sqrt(N), 'bzr': np.zeros((2 * N, 1)),
        'W': rs.randn(N, n_in) * 0.3, 'U': rs.randn(N, N) / np.sqrt(N), 'b': np.zeros((N, 1)),
    }


encoder, decoder = weights(A), weights(A + 1)
output = {'V': rs.randn(A, N) / np.sqrt(N), 'c': np.zeros((A, 1))}


def gru(p, xs, h):
    tape = []
    for x in xs:
        zr = 1 / (1 + np.exp(-(p['Wzr'] @ x + p['Uzr'] @ h + p['bzr'])))
        z, r = zr[:N], zr[N:]
        n = np.tanh(p['W'] @ x + p['U'] @ (r * h) + p['b'])
        tape.append((x, h, z, r, n))
        h = z * h + (1 - z) * n
    return h, tape


def gru_back(p, tape, dhs, dh):
    g = {k: np.zeros_like(v) for k, v in p.items()}
    for (x, h, z, r, n), d in zip(tape[::-1], dhs[::-1]):
        dh = dh + d
        dn = dh * (1 - z) * (1 - n ** 2)
        drh = p['U'].T @ dn
        dzr = np.vstack([dh * (h - n) * z * (1 - z), drh * h * r * (1 - r)])
        g['W'] += dn @ x.T
        g['U'] += dn @ (r * h).T
        g['b'] += dn.sum(1, keepdims=True)
        g['Wzr'] += dzr @ x.T
        g['Uzr'] += dzr @ h.T
        g['bzr'] += dzr.sum(1, keepdims=True)
        dh = dh * z + drh * r + p['Uzr'].T @ dzr
    return g, dh


def decode(context, y):
    """Teacher forcing: the letter before, or the start symbol, goes in."""
    start = np.zeros((A + 1, B))
    start[A] = 1
    fed = [start] + [np.vstack([t, np.zeros((1, B))]) for t in y[:-1]]
    _, tape = gru(decoder, fed, context)
    hs = [z * h + (1 - z) * n for _, h, z, _, n in tape]
    probs = []
    for h in hs:
        e = np.exp(output['V'] @ h + output['c'])
        probs.append(e / e.sum(0))
    return tape, hs, probs


def total_loss(probs, y):
    return -sum((t * np.log(p)).sum() for t, p in zip(y, probs)) / (len(y) * B)


def both(x, y):
    context, tape = gru(encoder, x, np.zeros((N, B)))
    return (tape, *decode(context, y))


velocity = {}
for episode in range(900):
    word = rs.randint(0, A, (L, B))
    x = [np.eye(A)[row].T for row in word]
    y = x[::-1]
    enc_tape, dec_tape, hs, probs = both(x, y)
    L_now = total_loss(probs, y)
    g_out = {'V': 0, 'c': 0}
    dhs = []
    for h, p, t in zip(hs, probs, y):
        d = (p - t) / (L * B)
        g_out['V'] = g_out['V'] + d @ h.T
        g_out['c'] = g_out['c'] + d.sum(1, keepdims=True)
        dhs.append(output['V'].T @ d)
    g_dec, d_context = gru_back(decoder, dec_tape, dhs, 0)
    g_enc, _ = gru_back(encoder, enc_tape, [0] * L, d_context)
    grad_norm = np.sqrt(sum((g ** 2).sum() for group in (g_enc, g_dec, g_out) for g in group.values()))
    for which, (model, grads) in enumerate([(encoder, g_enc), (decoder, g_dec), (output, g_out)]):
        for k in model:
            velocity[which, k] = 0.9 * velocity.get((which, k), 0) + grads[k]
            model[k] -= 0.3 * velocity[which, k]
    if episode % 90 == 0:
        print('episode %d, loss %.4f, norm %.3f' % (episode, L_now, grad_norm))
