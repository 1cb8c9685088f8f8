import numpy as np

# Predict the next value of a noisy sine wave from the last 20 values.
# shapes: time, batch, feature

T = 20
B = 16
H = 24


def make_data(rng, n):
    starts = rng.uniform(0, 2 * np.pi, size=n)
    freq = rng.uniform(0.3, 0.6, size=n)
    t = np.arange(T + 1)[:, None]
    wave = np.sin(starts + freq * t)
    wave += 0.02 * rng.standard_normal(wave.shape)
    return wave[:-1, :, None], wave[-1, :, None]


def init(rng):
    W_ih = rng.standard_normal((1, H)) * 0.5
    W_hh = rng.standard_normal((H, H)) / np.sqrt(H) * 0.9
    b_h = np.zeros(H)
    W_ho = rng.standard_normal((H, 1)) / np.sqrt(H)
    b_o = np.zeros(1)
    return W_ih, W_hh, b_h, W_ho, b_o


def forward(x, W_ih, W_hh, b_h, W_ho, b_o):
    h = np.zeros((x.shape[1], H))
    hs = [h]
    for t in range(x.shape[0]):
        h = np.tanh(x[t] @ W_ih + h @ W_hh + b_h)
        hs.append(h)
    return h @ W_ho + b_o, hs


def backward(x, hs, pred, y, W_ih, W_hh, b_h, W_ho, b_o):
    n = x.shape[1]
    d_pred = 2.0 * (pred - y) / n
    dW_ho = hs[-1].T @ d_pred
    db_o = d_pred.sum(0)
    dh = d_pred @ W_ho.T
    dW_ih = np.zeros_like(W_ih)
    dW_hh = np.zeros_like(W_hh)
    db_h = np.zeros_like(b_h)
    for t in range(x.shape[0] - 1, -1, -1):
        da = dh * (1 - hs[t + 1] ** 2)
        dW_ih += x[t].T @ da
        dW_hh += hs[t].T @ da
        db_h += da.sum(0)
        dh = da @ W_hh.T
    return dW_ih, dW_hh, db_h, dW_ho, db_o


def train(steps=600, lr=0.02, mu=0.9):
    rng = np.random.default_rng(12)
    weights = init(rng)
    velocity = [np.zeros_like(w) for w in weights]
    for step in range(steps):
        x, y = make_data(rng, B)
        pred, hs = forward(x, *weights)
        mse = np.mean((pred - y) ** 2)
        grads = backward(x, hs, pred, y, *weights)
        for i, (w, g) in enumerate(zip(weights, grads)):
            velocity[i] = mu * velocity[i] - lr * g
            w += velocity[i]
        if step % 100 == 0:
            print(f"step {step:4d}  mse {mse:.5f}")
    return weights


if __name__ == "__main__":
    train()
