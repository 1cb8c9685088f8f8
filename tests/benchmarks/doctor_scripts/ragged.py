"""Is the total of a variable-length list of numbers positive? Padded batches with a mask."""
import numpy as np

rng = np.random.default_rng(5)


def sample_batch(size=32, shortest=3, longest=9):
    lengths = rng.integers(shortest, longest + 1, size)
    mask = (np.arange(lengths.max())[None, :] < lengths[:, None]).astype(float)
    numbers = rng.standard_normal((size, lengths.max())) * mask
    labels = (numbers.sum(axis=1) > 0).astype(int)
    return numbers[:, :, None], mask, labels


theta = {
    "rnn": {"in": rng.standard_normal((1, 24)) * 0.5, "rec": np.eye(24) * 0.9, "bias": np.zeros(24)},
    "out": {"w": rng.standard_normal((24, 2)) * 0.2, "bias": np.zeros(2)},
}


def forward(numbers, mask):
    r = theta["rnn"]
    hidden = [np.zeros((len(numbers), 24))]
    for t in range(numbers.shape[1]):
        new = np.tanh(numbers[:, t] @ r["in"] + hidden[-1] @ r["rec"] + r["bias"])
        m = mask[:, t:t + 1]
        hidden.append(m * new + (1 - m) * hidden[-1])
    logits = hidden[-1] @ theta["out"]["w"] + theta["out"]["bias"]
    logits = logits - logits.max(axis=1, keepdims=True)
    return hidden, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def nll(probabilities, labels):
    return -np.mean(np.log(probabilities[range(len(labels)), labels]))


def backward(numbers, mask, labels, hidden, probabilities):
    r = theta["rnn"]
    delta = probabilities.copy()
    delta[range(len(labels)), labels] -= 1
    delta /= len(labels)
    grad = {part: {k: np.zeros_like(v) for k, v in table.items()} for part, table in theta.items()}
    grad["out"]["w"] += hidden[-1].T @ delta
    grad["out"]["bias"] += delta.sum(axis=0)
    dh = delta @ theta["out"]["w"].T
    for t in reversed(range(numbers.shape[1])):
        m = mask[:, t:t + 1]
        # where the mask is 0, the state was copied
        da = m * dh * (1 - hidden[t + 1] ** 2)
        grad["rnn"]["in"] += numbers[:, t].T @ da
        grad["rnn"]["rec"] += hidden[t].T @ da
        grad["rnn"]["bias"] += da.sum(axis=0)
        dh = da @ r["rec"].T + (1 - m) * dh
    return grad


for update in range(1, 601):
    numbers, mask, labels = sample_batch()
    hidden, probabilities = forward(numbers, mask)
    objective = nll(probabilities, labels)
    grad = backward(numbers, mask, labels, hidden, probabilities)
    for part in theta:
        for key in theta[part]:
            theta[part][key] -= 0.3 * grad[part][key]
    if update % 60 == 0:
        print(f"update {update}: {objective:.4f}, {np.mean(probabilities.argmax(1) == labels):.0%} right")
