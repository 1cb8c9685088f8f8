"""The state of the run on rank 0, which the other ranks copy at the start, at the end and after a repair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.core.checkpoint_file import checkpoint_bytes, load_checkpoint
from rnncallbacks.core.plugin_attributes import is_of_first_rank
from rnncallbacks.core.state_encoding import decode, encode
from rnncallbacks.core.state_restoration import (
    ObjectRestoration,
    checked_state,
    plugin_state,
    restore_diagnosis,
    restore_fields,
)
from rnncallbacks.errors import RankError

if TYPE_CHECKING:
    from rnncallbacks.core.run import Run


@attrs.frozen
class SharedState:
    """The state of rank 0: arrays, scales, alarms, and the states of the plugins that all ranks have."""

    arrays: dict[str, Array]
    scales: dict[str, float]
    diagnosis: dict[str, Any]
    plugins: dict[str, tuple[dict[str, Any], dict[str, Array]]]


def trained_arrays(run: Run) -> dict[str, Array]:
    """The parameters and the arrays of the optimizer, by path."""
    return {
        f"{what}.{name}": array
        for what, container in (("params", run.params), ("optimizer_state", run.optimizer_state))
        for name, array in named_arrays(container, what).items()
    }


def state_to_share(run: Run, gradients: Mapping[str, Array]) -> SharedState:
    """The state of the run; ``gradients`` are those of the open batch."""
    plugins = {}
    for name, plugin in run.plugins.items():
        arrays: dict[str, Array] = {}
        if not is_of_first_rank(plugin):
            fields = {field: encode(value, field, arrays) for field, value in plugin_state(plugin).items()}
            plugins[name] = fields, arrays
    arrays = trained_arrays(run) | {f"gradients.{name}": array for name, array in gradients.items()}
    return SharedState(arrays, dict(run.scales), run.diagnosis.content().to_dict(), plugins)


def take_state(run: Run, gradients: Mapping[str, Array], state: SharedState) -> None:
    """Copy the state of rank 0 into the run of this rank.

    Raises
    ------
    RankError
        The arrays of this rank have other names or shapes.
    CheckpointError
        A plugin does not accept its state.
    """
    copy_arrays(trained_arrays(run) | {f"gradients.{name}": array for name, array in gradients.items()}, state.arrays)
    for name, scale in state.scales.items():
        run.scale_learning_rate(name, scale)
    restore_diagnosis(run.diagnosis, state.diagnosis)
    objects = ObjectRestoration()
    for name, (fields, arrays) in state.plugins.items():
        plugin, what = run.plugins[name], f"rank 0: plugin {name!r}"
        decoded = {field: decode(value, arrays) for field, value in fields.items()}
        checked = checked_state(plugin, decoded, run.params, what)
        restore_fields(plugin, objects.put(plugin_state(plugin), checked, what))


def copy_arrays(targets: Mapping[str, Array], sources: Mapping[str, Array]) -> None:
    """Copy the sources into the targets of the same names.

    Raises
    ------
    RankError
        Names or shapes differ: the ranks train different networks.
    """
    here, there = ({name: array.shape for name, array in arrays.items()} for arrays in (targets, sources))
    if here != there:
        different = next(name for name in {**here, **there} if here.get(name) != there.get(name))
        raise RankError(
            f"{different} has the shape {here.get(different, 'missing')} on this rank, and "
            f"{there.get(different, 'missing')} on rank 0",
            hint="build the same model and optimizer on all ranks",
        )
    for name, array in targets.items():
        array[...] = sources[name]


def resumed_run(run: Run) -> bytes | None:
    """The content of a checkpoint of a run that resumes, or None for a run from the beginning."""
    return checkpoint_bytes(run, None) if run.resumed else None


def resume_like(run: Run, content: bytes) -> None:
    """Resume a run from the checkpoint from which rank 0 has resumed."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        path.write_bytes(content)
        load_checkpoint(run, path)
