"""GRU regression with functions and a dict; the room's temperature from the heater's switch. Truncated BPTT."""
import numpy as np


def init_gru(n_x, n_h, n_y, random):
    p = {}
    for name in ("update", "reset", "new"):
        p[name] = {
            "x": random.normal(0, 1 / np.sqrt(n_x), (n_h, n_x)),
            "h": random.normal(0, 1 / np.sqrt(n_h), (n_h, n_h)),
            "b": np.zeros((n_h, 1)),
        }
    p["out"] = {"h": random.normal(0, 1 / np.sqrt(n_h), (n_y, n_h)), "b": np.zeros((n_y, 1))}
    return p


def gate(w, x, h):
    return 1 / (1 + np.exp(-(w["x"] @ x + w["h"] @ h + w["b"])))


def gru_forward(p, x_seq, h):
    memory, predictions = [], []
    for x in x_seq:
        u, r = gate(p["update"], x, h), gate(p["reset"], x, h)
        n = np.tanh(p["new"]["x"] @ x + p["new"]["h"] @ (r * h) + p["new"]["b"])
        h_new = u * h + (1 - u) * n
        memory.append((x, h, u, r, n, h_new))
        predictions.append(p["out"]["h"] @ h_new + p["out"]["b"])
        h = h_new
    return predictions, memory, h


def loss_and_delta(predictions, y_seq):
    scale = len(y_seq) * y_seq[0].size
    errors = [q - y for q, y in zip(predictions, y_seq)]
    return sum(np.sum(e * e) for e in errors) / scale, [2 * e / scale for e in errors]


def gru_backward(p, memory, deltas):
    g = {k: {kk: np.zeros_like(vv) for kk, vv in v.items()} for k, v in p.items()}

    def collect(name, d, x, h):
        g[name]["x"] += d @ x.T
        g[name]["h"] += d @ h.T
        g[name]["b"] += d.sum(1, keepdims=True)

    dh = 0
    for (x, h, u, r, n, h_new), delta in zip(reversed(memory), reversed(deltas)):
        g["out"]["h"] += delta @ h_new.T
        g["out"]["b"] += delta.sum(1, keepdims=True)
        dh = dh + p["out"]["h"].T @ delta
        d_n = dh * (1 - u) * (1 - n ** 2)
        d_u = dh * (h - n) * u * (1 - u)
        d_rh = p["new"]["h"].T @ d_n
        d_r = d_rh * h * r * (1 - r)
        collect("new", d_n, x, r * h)
        collect("update", d_u, x, h)
        collect("reset", d_r, x, h)
        dh = dh * u + d_rh * r + p["update"]["h"].T @ d_u + p["reset"]["h"].T @ d_r
    return g


def simulate(random, rooms, steps, temperature):
    switch = (random.rand(steps, rooms) < 0.5).astype(float)
    outside = random.randn(steps, rooms) * 0.1
    inputs, temps = [], []
    for s, o in zip(switch, outside):
        temperature = 0.85 * temperature + 0.3 * s + o * 0.3 - 0.15
        inputs.append(np.stack([s, o]))
        temps.append(temperature[None])
    return inputs, temps, temperature


def main():
    random = np.random.RandomState(2)
    rooms, hidden, chunk = 10, 16, 15
    p = init_gru(2, hidden, 1, random)
    temperature = np.zeros(rooms)
    h = np.zeros((hidden, rooms))
    learning_rate, k = 0.3, 0
    while k < 500:
        x_seq, y_seq, temperature = simulate(random, rooms, chunk, temperature)
        predictions, memory, h_next = gru_forward(p, x_seq, h)
        mse, deltas = loss_and_delta(predictions, y_seq)
        gradients = gru_backward(p, memory, deltas)
        for group in p:
            for key in p[group]:
                p[group][key] = p[group][key] - learning_rate * gradients[group][key]
        h = h_next
        k += 1
        if k % 50 == 0:
            print("{:5d} mse {:.6f}".format(k, mse))


if __name__ == "__main__":
    main()
