"""A PyTorch LSTM in its own training loop, with the remedies and guards of rnncallbacks.

The script passes tensors. Plugins get NumPy arrays that share their memory, so clipping acts on ``param.grad``.
"""

import torch
from torch.nn.functional import cross_entropy, one_hot

from rnncallbacks import Run, recommended

VOCABULARY, SEQ_LEN, BATCH_SIZE, EPOCHS = 8, 12, 16, 15

torch.manual_seed(0)
# Every second token repeats the one before: half of the tokens can be predicted.
tokens = torch.randint(VOCABULARY, (128, SEQ_LEN + 1))
tokens[:, 1::2] = tokens[:, 0:-1:2]
batches = [(some[:, :-1], some[:, 1:]) for some in tokens.split(BATCH_SIZE)]

lstm = torch.nn.LSTM(VOCABULARY, 32, batch_first=True)
head = torch.nn.Linear(32, VOCABULARY)
model = torch.nn.ModuleDict({"lstm": lstm, "head": head})
params = dict(model.named_parameters())
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def loss_of(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    hidden, _ = lstm(one_hot(inputs, VOCABULARY).float())
    return cross_entropy(head(hidden).flatten(0, 1), targets.flatten())


# Each batch begins with a state of zeros, so there is no state to reset.
plugins = {name: plugin for name, plugin in recommended().items() if name != "hidden_state_reset"}
with Run(params, plugins=plugins, learning_rate=0.01) as run:
    for epoch in run.epochs(EPOCHS):
        for inputs, targets in run.batches(batches):
            loss = loss_of(inputs, targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            grads = {name: param.grad for name, param in params.items()}
            run.backward(loss, grads, closure=lambda: loss_of(inputs, targets), sequences=len(inputs))  # noqa: B023
            optimizer.param_groups[0]["lr"] = run.learning_rate
            if not run.skipped:
                optimizer.step()
        print(f"epoch {epoch:2}  loss {run.mean_loss():.3f}")
print(run.diagnosis)
