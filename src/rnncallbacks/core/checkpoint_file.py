"""Checkpoints: files from which a run continues as if it had not stopped.

A checkpoint is a safetensors file: arrays under their paths, and everything else as JSON in the metadata, with a
SHA-256 of both. A plugin's state is saved under the name by which the plugin is registered.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rnncallbacks import options
from rnncallbacks.alarms.diagnosis_content import DiagnosisContent
from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.config.option_types import structured
from rnncallbacks.core.object_state import is_savable
from rnncallbacks.core.position import Position
from rnncallbacks.core.state_encoding import decode, encode
from rnncallbacks.core.state_restoration import ObjectRestoration, checked_state, plugin_state, restore_fields
from rnncallbacks.errors import CheckpointError
from rnncallbacks.files import write_atomically

if TYPE_CHECKING:
    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run

logger = logging.getLogger("rnncallbacks")
VERSION = "3"
TRAINED = ("params", "optimizer_state")
"""The containers whose arrays a checkpoint restores in place, and the first word of their paths."""
NO_GENERATORS = (
    "%s: resumed without the state of random number generators, for the run was given none: what the script draws, "
    "such as the order of batches, comes again from the beginning. Pass rng= to Run, or state={} if the script draws "
    "nothing"
)


def _scales(owner: object, field: attrs.Attribute[Any], scales: Mapping[str, float]) -> None:
    for name, scale in scales.items():
        if not 0 <= scale < math.inf:
            raise ValueError(f"scales: expected finite numbers of at least 0, got {scale} for {name!r}")


def _hidden(owner: object, field: attrs.Attribute[Any], hidden: Mapping[str, Mapping[str, Any]]) -> None:
    for phase, saved in hidden.items():
        if saved.keys() != {"carried", "due"}:
            raise ValueError(f"hidden: expected carried and due for {phase!r}, got {list(saved)}")


@attrs.frozen(kw_only=True)
class CheckpointContent:
    """The content of a checkpoint, with paths in place of arrays.

    Attributes
    ----------
    epoch, step:
        The position of the run.
    scales:
        The scales of the learning rate by name.
    history:
        The rows of the history.
    diagnosis:
        Alarms, repairs and the records of all checks.
    hidden:
        The carried state and the resets that are due, by phase.
    plugins:
        The saved state of each plugin, by plugin and field; under ``state_dict`` that of a plugin with such a method.
    position:
        Where the run was in its epoch, and the state of loaders and of the script's generators and objects.
    """

    epoch: int = attrs.field(validator=options.count())
    step: int = attrs.field(validator=options.count(at_least=0))
    scales: dict[str, float] = attrs.field(validator=_scales)
    history: list[dict[str, bool | int | float | str]]
    diagnosis: DiagnosisContent
    hidden: dict[str, dict[str, Any]] = attrs.field(validator=_hidden)
    plugins: dict[str, dict[str, Any]]
    position: Position


def check_savable(run: Run) -> None:
    """Refuse a run whose arrays a checkpoint cannot hold.

    Raises
    ------
    CheckpointError
        The run has no parameters, or an array of parameters or optimizer state has another dtype than integers, truth
        values and floating numbers of at most 64 bits.
    """
    _savable_arrays(run)


def _savable_arrays(run: Run) -> dict[str, Array]:
    if run.params is None:
        raise CheckpointError("a checkpoint needs the parameters", hint="pass them to Run(params)")
    arrays = _trained_arrays(run)
    for name, array in arrays.items():
        if not is_savable(array):
            raise CheckpointError(
                f"a checkpoint cannot hold {name}: expected integers or floating numbers of at most 64 bits, "
                f"got {array.dtype}",
                hint="convert it before the run, for example with .astype(np.float64)",
            )
    return arrays


def save_checkpoint(run: Run, summary: EpochSummary | None, path: Path, *, fsync: bool = False) -> None:
    """Write the run as it is at the end of an epoch or of a batch; the file is replaced as a whole or not at all.

    Parameters
    ----------
    run:
        The run.
    summary:
        The epoch that ends, or None if the save is within an epoch.
    path:
        The file.
    fsync:
        Whether the file is flushed to the disk before the function returns.

    Raises
    ------
    CheckpointError
        As in :func:`check_savable`, or the state of a plugin has a value that cannot be written.
    OSError
        The file cannot be written. An earlier file is unchanged.
    """
    write_atomically(path, checkpoint_bytes(run, summary), fsync=fsync)


def checkpoint_bytes(run: Run, summary: EpochSummary | None) -> bytes:
    """The content of the file that :func:`save_checkpoint` writes.

    Raises
    ------
    CheckpointError
        As in :func:`save_checkpoint`.
    """
    trained = _savable_arrays(run)
    arrays: dict[str, Array] = {}
    content = {
        "epoch": run.epoch,
        "step": run.step,
        "scales": run.scales,
        "history": [*run.history, *([] if summary is None else [summary.row])],
        "diagnosis": run.diagnosis.content().to_dict(),
        "hidden": encode(run.hidden_states.saved(), "hidden", arrays),
        "plugins": {
            name: {
                field: encode(value, f"plugins.{name}.{field}", arrays) for field, value in plugin_state(plugin).items()
            }
            for name, plugin in run.plugins.items()
        },
        "position": encode(_savable_position(run, epoch_done=summary is not None), "position", arrays),
    }
    arrays |= trained
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    try:
        text = json.dumps(content)
    except TypeError as error:  # a plugin put something else into the history
        raise CheckpointError(f"the history or the alarms cannot be saved in a checkpoint: {error}") from error
    metadata = {"version": VERSION, "run": text, "sha256": _checksum(text, contiguous)}
    return save(contiguous, metadata=metadata)


def _savable_position(run: Run, *, epoch_done: bool) -> dict[str, Any]:
    """The position, without the states of loaders that cannot be written: a resumed run skips their batches."""
    position = attrs.asdict(run.position(epoch_done=epoch_done))
    for phase, state in list(position["loaders"].items()):
        try:
            encode(state, f"the loader of {phase}", {})
        except CheckpointError as error:
            logger.warning("%s; a resumed run takes and drops its batches instead", error.message)
            del position["loaders"][phase]
    return position


def load_checkpoint(run: Run, path: Path) -> None:
    """Restore a run to the state that :func:`save_checkpoint` wrote; parameters and optimizer state change in place.

    Plugins of the run that the file does not have start with their defaults. States in the file of plugins that the run
    does not have are ignored. Both are logged, and so is a script that gave the run no generators.

    Raises
    ------
    CheckpointError
        The file is not a checkpoint, or belongs to other parameters or plugins. The run is unchanged.
    RunStateError
        The run has begun already. It is unchanged.
    """
    content, arrays = _read(path)
    targets = _trained_arrays(run)
    _check_arrays(targets, arrays, path)
    for name in run.plugins.keys() ^ content.plugins.keys():
        logger.warning("%s: plugin %r is in %s only", path, name, "the run" if name in run.plugins else "the file")
    states = {name: fields for name, fields in content.plugins.items() if name in run.plugins}
    for name, fields in states.items():
        states[name] = checked_state(run.plugins[name], fields, run.params, f"{path}: plugin {name!r}")
    objects = ObjectRestoration()
    try:
        for name, fields in states.items():
            states[name] = objects.put(plugin_state(run.plugins[name]), fields, f"{path}: plugin {name!r}")
        run.resume(
            epoch=content.epoch,
            step=content.step,
            # Nothing would ever change the scale of a plugin that the run does not have.
            scales={
                name: scale for name, scale in content.scales.items() if name not in content.plugins or name in states
            },
            rows=content.history,
            diagnosis=content.diagnosis,
            hidden=content.hidden,
            position=content.position,
        )
    except BaseException:
        objects.undo()
        raise
    for name, array in targets.items():
        array[...] = arrays[name]
    for name, fields in states.items():
        restore_fields(run.plugins[name], fields)
    if not run.script.given:
        logger.warning(NO_GENERATORS, path)


def checkpoint_place(path: Path) -> tuple[int, bool, int]:
    """The progress of the run in a file: its epoch, whether that is done, and the number of batches of all phases in
    it.

    Raises
    ------
    CheckpointError
        The file is not a checkpoint.
    """
    content, _ = _read(path)
    position = content.position
    return content.epoch, not position.in_epoch, sum(one.batches for one in position.passes)


def _trained_arrays(run: Run) -> dict[str, Array]:
    """The parameters and the optimizer's arrays by their paths in the file."""
    return {
        f"{what}.{name}": array
        for what, container in zip(TRAINED, (run.params, run.optimizer_state), strict=True)
        for name, array in named_arrays(container, what).items()
    }


def _read(path: Path) -> tuple[CheckpointContent, dict[str, Array]]:
    """The content and the arrays of a checkpoint, checked as a whole."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error
    if metadata.get("version") != VERSION:
        raise CheckpointError(f"{path}: expected a checkpoint of version {VERSION}, got {metadata.get('version')}")
    text = metadata.get("run", "")
    if metadata.get("sha256") != _checksum(text, arrays):
        raise CheckpointError(
            f"{path} is damaged: its content does not have the SHA-256 that was saved with it",
            hint="resume from an earlier file, or remove this one to start from the beginning",
        )
    try:
        content = json.loads(text)
        content["hidden"] = decode(content["hidden"], arrays)
        content["position"] = decode(content["position"], arrays)
        content["plugins"] = {
            name: {field: decode(value, arrays) for field, value in fields.items()}
            for name, fields in content["plugins"].items()
        }
        found = structured(content, CheckpointContent)
        if json.dumps(found.diagnosis.to_dict()) != json.dumps(content["diagnosis"]):
            raise ValueError("a field of the diagnosis is missing")
        return found, arrays
    except Exception as error:
        raise CheckpointError(f"{path} is no checkpoint of this library: {_reason(error)}") from error


def _checksum(text: str, arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.name}\0{array.shape}\0".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    """The message of the innermost error: structuring wraps it in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    notes = getattr(error, "__notes__", [])
    return f"{error or type(error).__name__}{f' ({notes[-1]})' if notes else ''}"


def _check_arrays(targets: Mapping[str, Array], arrays: Mapping[str, Array], path: Path) -> None:
    """Refuse parameters and optimizer state that differ in name, shape or dtype, or cannot be written to."""
    saved = {name: array for name, array in arrays.items() if name.startswith(tuple(f"{what}." for what in TRAINED))}
    for name in {**targets, **saved}:
        here, there = (_describe(where.get(name)) for where in (targets, saved))
        if here != there:
            raise CheckpointError(
                f"{path}: {name} is {here} in this run, {there} in the file",
                hint="a checkpoint belongs to one model and one optimizer: build those it was saved with",
            )
    for name, array in targets.items():
        if not array.flags.writeable:
            raise CheckpointError(f"{path}: {name} cannot be written to", hint="copy it first: np.array(parameter)")


def _describe(array: Array | None) -> str:
    # Files are little-endian, and assignment converts to the array's own order of bytes.
    return "missing" if array is None else f"{array.dtype.name} of shape {array.shape}"
