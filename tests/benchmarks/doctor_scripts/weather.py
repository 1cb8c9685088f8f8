"""Temperature of tomorrow from the last two weeks. Reads weather.csv and writes the losses to losses.txt."""
import csv
import os
import numpy as np

folder = os.path.dirname(os.path.abspath(__file__))


def read():
    with open(os.path.join(folder, "weather.csv")) as f:
        rows = list(csv.DictReader(f))
    return np.array([[float(r["temperature"]), float(r["pressure"])] for r in rows])


class WeatherRNN:
    def __init__(self, n_features=2, n_hidden=16):
        self.n_hidden = n_hidden
        self.weights_input = np.random.normal(0, 0.3, (n_features, n_hidden))
        self.weights_recurrent = np.random.normal(0, 0.2, (n_hidden, n_hidden))
        self.weights_output = np.random.normal(0, 0.3, (n_hidden, 1))
        self.bias_hidden = np.zeros((1, n_hidden))
        self.bias_output = np.zeros((1, 1))

    def predict(self, window):
        self.states = [np.zeros((1, self.n_hidden))]
        for day in window:
            self.states.append(np.tanh(day[None] @ self.weights_input + self.states[-1] @ self.weights_recurrent
                                       + self.bias_hidden))
        return (self.states[-1] @ self.weights_output + self.bias_output)[0, 0]

    def gradients(self, window, error):
        delta_output = np.array([[2 * error]])
        d_wo = self.states[-1].T @ delta_output
        d_bo = delta_output
        d_wi = np.zeros_like(self.weights_input)
        d_wr = np.zeros_like(self.weights_recurrent)
        d_bh = np.zeros_like(self.bias_hidden)
        delta = delta_output @ self.weights_output.T
        for k in range(len(window), 0, -1):
            delta = delta * (1 - self.states[k] ** 2)
            d_wi += window[k - 1][:, None] @ delta
            d_wr += self.states[k - 1].T @ delta
            d_bh += delta
            delta = delta @ self.weights_recurrent.T
        return d_wi, d_wr, d_wo, d_bh, d_bo

    def apply(self, grads, lr):
        d_wi, d_wr, d_wo, d_bh, d_bo = grads
        self.weights_input -= lr * d_wi
        self.weights_recurrent -= lr * d_wr
        self.weights_output -= lr * d_wo
        self.bias_hidden -= lr * d_bh
        self.bias_output -= lr * d_bo


if __name__ == "__main__":
    series = read()
    series = (series - series.mean(axis=0)) / series.std(axis=0)
    pairs = [(series[i:i + 14], series[i + 14, 0]) for i in range(len(series) - 14)]
    split = int(0.8 * len(pairs))
    train_pairs, test_pairs = pairs[:split], pairs[split:]
    net = WeatherRNN()
    log = open(os.path.join(folder, "losses.txt"), "w")
    for epoch in range(8):
        total = 0.0
        for n in np.random.permutation(len(train_pairs)):
            window, temperature = train_pairs[n]
            error = net.predict(window) - temperature
            total += error ** 2
            net.apply(net.gradients(window, error), 0.01)
        test_mse = np.mean([(net.predict(w) - t) ** 2 for w, t in test_pairs])
        log.write(f"{epoch},{total / len(train_pairs)},{test_mse}\n")
        print(f"epoch {epoch}: train MSE {total / len(train_pairs):.4f}, test MSE {test_mse:.4f}")
    log.close()
