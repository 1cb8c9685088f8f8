"""Searches learning rate, clipping and size of a character model with Optuna, in two processes that share a file.

Each process asks the study in the file for the next trial, and the study prunes trials that are worse than others. With
a path, a second call continues the study in that file: ``python sweep.py study.journal``.
"""

import logging
import multiprocessing
import sys
import tempfile
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from rnncallbacks import Trainer, load_plugins
from rnncallbacks.plugins import Optuna
from rnncallbacks.rnn.data.splits import split
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam

PROCESSES, TRIALS, EPOCHS = 2, 12, 5

text = embedded_text()[:40_000]
vocabulary = Vocabulary.from_tokens(text)
train, held_out = split(vocabulary.encode(text))


def objective(trial: optuna.Trial) -> float:
    plugins: dict[str, object] = load_plugins(
        {"preset": "recommended", "plugins": {"divergence_alarm": {"divergence_action": "stop"}}},
        override={"gradient_clipping.max_norm": trial.suggest_float("max_norm", 0.1, 10.0, log=True)},
    )
    plugins["optuna"] = pruning = Optuna(trial)
    model = RecurrentModel(trial.suggest_int("hidden_size", 16, 64, step=16), vocab_size=len(vocabulary), seed=0)
    learning_rate = trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
    trainer = Trainer(model, Adam(), plugins=plugins, learning_rate=learning_rate)
    batches, validation = (StreamLoader(tokens, batch_size=16, seq_len=32) for tokens in (train, held_out))
    trainer.fit(batches, validation, max_epochs=EPOCHS, progress=False)
    assert trainer.run is not None
    return pruning.result(trainer.run)


def work(journal: str, number: int) -> None:
    logging.getLogger("rnncallbacks").setLevel(logging.ERROR)  # alarms are in the attributes of each trial
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name="characters",
        storage=JournalStorage(JournalFileBackend(journal)),
        sampler=optuna.samplers.TPESampler(seed=number, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    )
    study.optimize(objective, n_trials=TRIALS // PROCESSES)


def sweep(journal: str) -> None:
    storage = JournalStorage(JournalFileBackend(journal))
    study = optuna.create_study(study_name="characters", storage=storage, load_if_exists=True)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(journal, number)) for number in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for trial in study.trials:
        print(f"trial {trial.number:2}  {trial.state.name.lower():8}  {trial.user_attrs['outcome']:.70}")
    print(f"best: {study.best_value:.4f} nats per character with {study.best_params}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sweep(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            sweep(str(Path(folder) / "study.journal"))
