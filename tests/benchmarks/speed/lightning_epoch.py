"""The epoch through Lightning's ``Trainer``: ``nn.RNN`` on one-hot floats made in advance."""

from __future__ import annotations

import logging
import os
import warnings

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from rnncallbacks.rnn.data.streams import StreamLoader
from speed.epochs import PATIENCE, Gate, stacked
from speed.task import LEARNING_RATE, MAX_NORM, Task


class Network(lightning.LightningModule):
    def __init__(self, task: Task) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(task.vocab_size, task.hidden_size), nn.Linear(task.hidden_size, task.vocab_size)
        self.load_state_dict({name: torch.from_numpy(array) for name, array in task.parameters().items()})
        self.states = {phase: torch.zeros(1, task.batch_size, task.hidden_size) for phase in ("train", "val")}

    def loss(self, phase: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        hidden, state = self.rnn(inputs, self.states[phase])
        self.states[phase] = state.detach()
        loss = functional.cross_entropy(self.head(hidden).flatten(0, 1), targets.flatten())
        self.log(f"{phase}_loss", loss, on_step=False, on_epoch=True, batch_size=inputs.shape[1])
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return self.loss("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.loss("val", batch)

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.Adam(self.parameters(), lr=LEARNING_RATE, fused=True)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=PATIENCE)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}


class Turns(Callback):
    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_train_epoch_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self.gate(float(trainer.callback_metrics.get("val_loss", 0.0)))


def lightning_loader(task: Task, loader: StreamLoader) -> DataLoader:
    inputs, targets = stacked(loader)
    one_hot = torch.from_numpy(np.eye(task.vocab_size, dtype=np.float32)[inputs])
    return DataLoader(list(zip(one_hot, torch.from_numpy(targets).long(), strict=True)), batch_size=None)


def lightning_epochs(task: Task, train: StreamLoader, held_out: StreamLoader, gate: Gate) -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        gradient_clip_val=MAX_NORM,
        callbacks=[EarlyStopping("val_loss", patience=PATIENCE), Turns(gate)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Network(task), lightning_loader(task, train), lightning_loader(task, held_out))
