"""A program that the tests start on several ranks: ``mpiexec -n 2 python rank_program.py NAME [ARGUMENTS]``.

Each function without a leading underscore is one program. Rank 0 prints its result as one line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from rnncallbacks import Run, hookimpl
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.arrays.fingerprints import digest
from rnncallbacks.config.configuration import load_plugins
from rnncallbacks.errors import RankError
from rnncallbacks.parallel.communicator import connect
from rnncallbacks.parallel.row_shares import shard
from rnncallbacks.plugins import Checkpoint, DataParallel, EarlyStopping, GradientClipping, LossAveraging, SelfRepair
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.training.trainer import Trainer

RANK = int(os.environ.get("PMI_RANK", "0"))


def several(*calls: str) -> dict[str, Any]:
    """The results of several programs by their calls, such as ``faulty,stop,1,4``, for the price of one start."""
    found = {}
    for call in calls:
        name, *arguments = call.split(",")
        found[call] = globals()[name](*arguments)
    return found


def again() -> dict[str, Any]:
    """A run after one in which one rank failed, and all scripts caught the error."""
    caught = ""
    for rank in (0, 1):
        try:
            faulty("error", str(rank), "4")
        except (ValueError, RankError) as error:
            caught += type(error).__name__ + " "
    found = faulty("none", "0", "0")
    return {"caught": _communicator().gather_objects(caught.split()), **found}


def equal() -> dict[str, float]:
    """The largest difference of a run on the ranks from that of one process, for each kind of run."""
    return {
        "vanilla": _difference(_text_run, "vanilla"),
        "lstm": _difference(_text_run, "lstm"),
        "gru": _difference(_text_run, "gru"),
        "streams": _difference(_stream_run),
        "own loop": _difference(_own_loop, 1),
        "own loop with a sharded loader": _difference(_own_loop, None),
        "configuration": _difference(_configured_loop),
        "two dtypes": _difference(_loop_of_two_dtypes),
    }


def decided() -> dict[str, Any]:
    """Alarms, repairs and dropout, and whether all ranks ended with the same parameters."""
    healthy = _trained(rate=0.02)
    repaired = _trained(rate=30.0, more={"self_repair": SelfRepair()})
    found = {
        "alarms": [alarm.code for alarm in healthy.alarms],
        "checked": len(healthy.diagnosis.passed),
        "repairs": [repair.code for repair in repaired.diagnosis.repairs],
        "same": _same_on_all([*named_arrays(healthy.params).values(), *named_arrays(repaired.params).values()]),
        "same decisions": _same_on_all([np.frombuffer(repr(repaired.diagnosis.repairs).encode(), np.uint8)]),
        "rows": repaired.history.rows == _of_first(repaired.history.rows),
    }
    dropped = _trained(rate=0.02, dropout=0.5)
    passes = named_arrays(dropped.optimizer_state)["passes"]
    return found | {"passes differ": not _same_on_all([passes]), "ranks": _communicator().ranks}


def resumed(folder: str) -> dict[str, Any]:
    """A stream with a carried state and dropout, stopped after 5 batches: whether it goes on as if it was not."""
    whole = _stream_model(None, dropout=0.3, plugins=[DataParallel()])
    path = Path(folder) / f"{_communicator().ranks}.safetensors"
    for steps in (5, None):
        plugins = [Checkpoint(path, fsync=False), DataParallel()]
        parts = _stream_model(steps, dropout=0.3, plugins=plugins)
    return {"difference": float(np.abs(whole - parts).max())}


def half(path: str) -> dict[str, Any]:
    """The first half of a run, which a checkpoint saves."""
    _stream_model(5, dropout=0.0, plugins=[Checkpoint(path, fsync=False), DataParallel()])
    return {}


def other_half(path: str) -> dict[str, Any]:
    """The second half on another number of ranks, beside a run of one process."""
    parts = _stream_model(None, dropout=0.0, plugins=[Checkpoint(path, fsync=False), DataParallel()])
    return {"difference": float(np.abs(_stream_model(None, dropout=0.0, plugins=[]) - parts).max())}


def killed(folder: str, rank: str, seconds: str) -> dict[str, Any]:
    """A run that saves a checkpoint every two batches, and in which a signal ends one rank after so many seconds."""
    began = time.monotonic()
    if int(rank) == RANK:
        _note_fault(folder, float(seconds))
        signal.setitimer(signal.ITIMER_REAL, float(seconds))
    checkpoint = Checkpoint(Path(folder) / "run.safetensors", every_steps=2, fsync=False)
    params = _stream_model(None, dropout=0.3, plugins=[checkpoint, DataParallel()], epochs=20)
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return {"digest": digest(params.tobytes()), "seconds": time.monotonic() - began}


def unanswered() -> dict[str, Any]:
    """Rank 1 is killed after it has sent a request to MPICH's launcher, which is stopped until then."""
    if RANK == 1:
        launcher, connection = os.getppid(), int(os.environ["PMI_FD"])
        while "proxy" not in Path(f"/proc/{launcher}/comm").read_text():
            launcher = int(Path(f"/proc/{launcher}/stat").read_text().rpartition(")")[2].split()[1])
        os.write(connection, b"cmd=init pmi_version=1 pmi_subversion=1\n")
        os.read(connection, 1000)
        os.kill(launcher, signal.SIGSTOP)
        if os.fork():
            os.write(connection, b"cmd=get_maxes\n")
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(connection)
        time.sleep(0.1)
        os.kill(launcher, signal.SIGCONT)
        os._exit(0)
    DataParallel()
    return {}


def _note_fault(folder: str, after: float = 0.0) -> None:
    """Write the time of a fault to a file next to the folder."""
    if folder:
        Path(f"{folder}.fault").write_text(str(time.time() + after))


def faulty(fault: str, rank: str, step: str, folder: str = "") -> dict[str, Any]:
    """A loop of its own in which one rank does something else than the others, in one batch."""
    if fault == "error before MPI" and int(rank) == RANK:
        raise ValueError("no data")
    loop = _FaultyLoop(fault, int(rank), int(step), folder)
    with suppress(ValueError) if fault == "caught error" else nullcontext():
        return loop.train()
    return {}


class _FaultyLoop:
    def __init__(self, fault: str, rank: int, step: int, folder: str) -> None:
        self.fault, self.step = fault, step
        self.here = rank == RANK
        self.folder = folder
        self.params = {"w": np.zeros(3), "b": np.zeros(1)}
        generator = np.random.default_rng(self.here and fault == "other batches")
        inputs = generator.normal(size=(36, 3))
        targets = inputs @ np.array([1.0, -2.0, 0.5])
        self.batches = [(inputs[at : at + 6], targets[at : at + 6]) for at in range(0, 36, 6)]

    @hookimpl
    def on_batch_end(self, run: Run) -> None:
        if self.here and run.step == self.step:
            if self.fault == "stop in a hook":
                run.stop("enough")
            if self.fault == "error in a hook":
                _note_fault(self.folder)
                raise ValueError("a plugin")

    def train(self) -> dict[str, Any]:
        plugins: list[object] = [LossAveraging(), GradientClipping(max_norm=1.0), self]
        if self.fault == "NaN and a stop":
            from rnncallbacks.plugins import DivergenceAlarm

            plugins.append(DivergenceAlarm(action="stop"))
        if self.folder:
            plugins.append(Checkpoint(Path(self.folder) / "run.safetensors", every_steps=1, fsync=False))
        plugins.append(DataParallel(shard=self.fault != "unequal shards"))
        batches = self.batches[:-1] if self.fault == "unequal shards" and self.here else self.batches
        with Run(self.params, plugins=plugins, learning_rate=0.1, hidden_size=2, state={}) as run:
            for _ in run.epochs(3):
                if self.fault == "stop between batches" and self.here and run.epoch == 2:
                    run.stop("enough")
                for inputs, targets in run.batches(batches):
                    self._learn(run, inputs, targets)
                for inputs, targets in run.batches(batches[:2], phase="val"):
                    run.record(self._step(inputs, targets)[0])
        if self.fault == "error after the run" and self.here:
            _note_fault(self.folder)
            raise ValueError("after the run")
        params = [*self.params.values()]
        finite = all(np.isfinite(one).all() for one in params)
        return {"stop": run.stop_reason, "step": run.step, "same": _same_on_all(params), "finite": bool(finite)}

    def _learn(self, run: Run, inputs: np.ndarray, targets: np.ndarray) -> None:
        now = self.here and run.step == self.step
        if now:
            self._fail(run)
        loss, grads = self._step(inputs, targets)
        if now and self.fault.startswith("NaN"):
            loss = float("nan")
            grads["w"][:] = np.nan
        if not (now and self.fault == "no backward"):
            run.backward(loss, grads)
        if not run.skipped:
            for name, array in self.params.items():
                array -= run.learning_rate * grads[name]

    def _fail(self, run: Run) -> None:
        _note_fault(self.folder)
        if self.fault in ("error", "caught error"):
            raise ValueError("bad data")
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "interrupt":
            raise KeyboardInterrupt
        if self.fault == "exit":
            sys.exit(3)
        if self.fault == "slow rank":
            time.sleep(0.3)
        if self.fault == "stop":
            run.stop("enough")
        if self.fault == "skip":
            run.skip_batch()
        if self.fault == "hidden state of all rows":
            run.hidden(batch_size=6)

    def _step(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        errors = inputs @ self.params["w"] + self.params["b"] - targets
        gradient = 2 * inputs.T @ errors / len(targets)
        return float((errors**2).mean()), {"w": gradient, "b": np.array([2 * errors.mean()])}


# Runs of which those on several ranks and that of one process have to be equal ---------------------------------------


def _text_run(parallel: bool, cell: str) -> list[np.ndarray]:
    """Ragged sequences, with early stopping, in batches of which the last has a single row."""
    generator = np.random.default_rng(0)
    sequences = [np.cumsum(generator.integers(1, 3, generator.integers(3, 15))) % 7 for _ in range(37)]
    plugins = load_plugins({"plugins": {"hidden_state_reset": {}, "gradient_clipping": {"max_norm": 0.5}}})
    more = [LossAveraging(weight="token"), EarlyStopping(patience=1, min_delta=0.3)]
    model = RecurrentModel(8, vocab_size=7, cell=cell, dtype="float64", seed=3)
    listed = [*plugins.values(), *more, *([DataParallel()] if parallel else [])]
    trainer = Trainer(model, Adam(), plugins=listed, learning_rate=0.02, metrics=["accuracy"])
    history = trainer.fit(
        SequenceLoader(sequences[:25], batch_size=8),
        SequenceLoader(sequences[25:], batch_size=5, shuffle=False),
        max_epochs=6,
        progress=False,
    )
    assert trainer.run is not None
    assert trainer.run.stop_reason is not None
    names = ("train_loss", "val_loss", "train_tokens", "val_accuracy", "gradient_norm")
    return [model.parameters.flat, *(np.array(history[name], dtype=float) for name in names)]


def _stream_run(parallel: bool) -> list[np.ndarray]:
    return [_stream_model(None, dropout=0.0, plugins=[DataParallel()] if parallel else [])]


def _stream_model(steps: int | None, *, dropout: float, plugins: list[object], epochs: int = 2) -> np.ndarray:
    """The parameters after training on a stream whose rows continue from batch to batch."""
    tokens = np.cumsum(np.random.default_rng(1).integers(1, 3, 400)) % 5
    model = RecurrentModel(6, vocab_size=5, cell="lstm", num_layers=2, dropout=dropout, dtype="float64", seed=1)
    trainer = Trainer(model, Adam(), plugins=[LossAveraging(), *plugins], learning_rate=0.02)
    trainer.fit(StreamLoader(tokens, batch_size=5, seq_len=10), max_epochs=epochs, max_steps=steps, progress=False)
    return model.parameters.flat.copy()


def _own_loop(parallel: bool, axis: int | None) -> list[np.ndarray]:
    """Arrays with the sequences on the second axis, and a state (hidden, batch) that is carried."""
    generator = np.random.default_rng(2)
    inputs, targets = generator.normal(size=(6, 5, 3)), generator.normal(size=(6, 5, 2))
    weights = {name: generator.normal(size=shape) for name, shape in {"u": (4, 3), "v": (4, 4), "o": (2, 4)}.items()}
    batches: Any = [(inputs[at : at + 2], targets[at : at + 2]) for at in (0, 2, 4)]
    plugins: list[object] = [GradientClipping(max_norm=0.3), LossAveraging()]
    if parallel:
        plugins.append(DataParallel(axis=axis or 0))
        batches = batches if axis is not None else shard(batches, axis=1)
    with Run(weights, plugins=plugins, learning_rate=0.1, hidden_size=4, state={}) as run:
        for _ in run.epochs(3):
            for x, y in run.batches(batches):
                hidden = run.hidden(x.shape[1])
                loss, grads = 0.0, {name: np.zeros_like(array) for name, array in weights.items()}
                for one, target in zip(x, y, strict=True):
                    entering, hidden = hidden, np.tanh(weights["u"] @ one.T + weights["v"] @ hidden)
                    error = weights["o"] @ hidden - target.T
                    loss += float((error**2).sum()) / error.shape[1]
                    back = 2 * weights["o"].T @ error * (1 - hidden**2) / error.shape[1]
                    grads["o"] += 2 * error @ hidden.T / error.shape[1]
                    grads["u"] += back @ one
                    grads["v"] += back @ entering.T
                run.backward(loss, grads)
                run.carry(hidden)
                for name, array in weights.items():
                    array -= run.learning_rate * grads[name]
    return [*weights.values(), np.array(run.history["train_loss"], dtype=float)]


def _configured_loop(parallel: bool) -> list[np.ndarray]:
    """A loop without a number of tokens or sequences, with the plugin of a configuration."""
    tables: dict[str, Any] = {"loss_averaging": {}, "warmup": {"steps": 4}, "reduce_on_plateau": {"patience": 1}}
    plugins = load_plugins({"plugins": tables | ({"data_parallel": {}} if parallel else {})})
    loop = _FaultyLoop("none", 0, 0, "")
    with Run(loop.params, plugins=plugins, learning_rate=0.1, state={}) as run:
        for _ in run.epochs(4):
            for inputs, targets in run.batches([*loop.batches, (loop.batches[0][0][:1], loop.batches[0][1][:1])]):
                loss, grads = loop._step(inputs, targets)
                run.backward(loss, grads)
                for name, array in loop.params.items():
                    array -= run.learning_rate * grads[name]
            for inputs, targets in run.batches(loop.batches[1:3], phase="val"):
                run.record(loop._step(inputs, targets)[0])
    return [*loop.params.values(), np.array(run.history["val_loss"]), np.array(run.history["learning_rate"])]


def _loop_of_two_dtypes(parallel: bool) -> list[np.ndarray]:
    """Weights in float32 and float64, with gradients that float32 represents exactly, and validation in between."""
    params = {"w": np.zeros(4, np.float32), "b": np.zeros(2)}
    plugins: list[object] = [LossAveraging(weight="token"), *([DataParallel()] if parallel else [])]
    losses = []
    with Run(params, plugins=plugins, learning_rate=0.5, state={}) as run:
        for _ in run.epochs(3):
            for rows in run.batches([np.arange(4.0), np.arange(8.0)]):
                grads = {"w": np.full(4, rows.mean(), np.float32), "b": np.full(2, rows.mean() / 3)}
                run.backward(rows.mean() / 3, grads, tokens=2**25 * len(rows))
                for name, array in params.items():
                    array -= run.learning_rate * grads[name]
                if run.step % 2:
                    for one in run.batches([np.arange(6.0)], phase="val"):
                        run.record(one.mean(), tokens=len(one))
            losses.append(run.mean_loss())
    return [*params.values(), np.array(losses), np.array(run.history["train_tokens"])]


def _difference(train: Any, *arguments: Any) -> float:
    parallel, alone = train(True, *arguments), train(False, *arguments)
    return max(float(np.abs(one - other).max()) for one, other in zip(parallel, alone, strict=True))


def _trained(*, rate: float, dropout: float = 0.0, more: dict[str, object] | None = None) -> Run:
    generator = np.random.default_rng(0)
    sequences = [np.cumsum(generator.integers(1, 3, generator.integers(5, 9))) % 7 for _ in range(40)]
    names = ("hidden_state_reset", "divergence_alarm", "protocol_guard", "loss_report_guard", "hidden_state_guard")
    names += ("loss_function_guard", "gradient_guard", "update_guard", "progress_guard", "loss_averaging")
    plugins = load_plugins({"plugins": {name: {} for name in names}}) | (more or {}) | {"data_parallel": DataParallel()}
    model = RecurrentModel(8, vocab_size=7, num_layers=2, dropout=dropout, dtype="float64", seed=3)
    trainer = Trainer(model, Adam(), plugins=plugins, learning_rate=rate)
    trainer.fit(SequenceLoader(sequences, batch_size=8), max_epochs=5, progress=False)
    assert trainer.run is not None
    return trainer.run


def _communicator() -> Any:
    communicator = connect()
    assert communicator is not None
    return communicator


def _of_first(value: Any) -> Any:
    return _communicator().broadcast_object(value)


def _same_on_all(arrays: list[np.ndarray]) -> bool:
    everywhere = _communicator().gather_objects([array.tobytes() for array in arrays])
    return all(one == everywhere[0] for one in everywhere)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    result = globals()[sys.argv[1]](*sys.argv[2:])
    if RANK == 0:
        print(json.dumps(result), flush=True)
