import numpy as np
from network import WordRNN
from optim import SGD

animals, verbs, places = "cat dog fox owl hen".split(), "sleeps runs hides sits".split(), "barn wood house field".split()
rs = np.random.RandomState(2)
sentences = []
for _ in range(300):
    a, v, p = rs.randint(5), rs.randint(4), rs.randint(4)
    sentences.append(f"<s> the {animals[a]} {verbs[(a + v % 2) % 4]} in the {places[(a + v) % 4]} </s>".split())
vocab = sorted({w for s in sentences for w in s})
numbers = np.array([[vocab.index(w) for w in s] for s in sentences])
train_set, valid_set = numbers[:240], numbers[240:]

model = WordRNN(len(vocab), 10, 24)
optimizer = SGD(model.parameters(), lr=0.5)


def evaluate(data, size=20):
    total = 0
    for i in range(0, len(data), size):
        total += model.loss(data[i:i + size, :-1], data[i:i + size, 1:])
    return total / (len(data) // size)


def run_epoch(size=20):
    rs.shuffle(train_set)
    total = 0
    for i in range(0, len(train_set), size):
        batch = train_set[i:i + size]
        model.zero_grad()
        loss = model.loss(batch[:, :-1], batch[:, 1:])
        model.backward()
        optimizer.step()
        total += loss
    return total / (len(train_set) // size)


history = []
for epoch in range(20):
    train_loss = run_epoch()
    valid_loss = evaluate(valid_set)
    history.append((train_loss, valid_loss))
    print(epoch, round(train_loss, 4), round(valid_loss, 4))
