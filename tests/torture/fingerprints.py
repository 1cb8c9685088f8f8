"""All that a run leaves behind, as a flat mapping: two runs are the same bit for bit if their mappings are equal."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rnncallbacks import Run
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.core.plugin_state import saved_state

FILES = ("history.jsonl", "history.csv", "batches.jsonl", "alarms.jsonl", "diagnosis.json")


def fingerprint(run: Run, folder: Path) -> dict[str, str]:
    """Parameters, optimizer, history, alarms, diagnosis, the plugins' saved state, and the files of history_log."""
    parts = {
        "params": named_arrays(run.params, "params"),
        "optimizer": named_arrays(run.optimizer_state, "optimizer"),
        "position": [run.epoch, run.step, run.stop_reason],
        "scales": run.scales,
        "history": run.history.untimed(),
        "diagnosis": run.diagnosis.to_dict(),
        "plugins": dict(run.plugins),
        "files": {name: untimed(folder / name) for name in FILES if (folder / name).exists()},
    }
    return dict(flat(parts))


def untimed(path: Path) -> bytes:
    """The content of a file without the wall time of each epoch."""
    content = path.read_bytes()
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
        timed = [place for place, name in enumerate(rows[0] if rows else ()) if name == "seconds"]
        return repr([[cell for place, cell in enumerate(row) if place not in timed] for row in rows]).encode()
    return re.sub(rb'"seconds": [^,}]+, ', b"", content)


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The places at which two fingerprints differ, with both values."""
    places = sorted(one.keys() | other.keys())
    return [f"{place}: {one.get(place)} / {other.get(place)}" for place in places if one.get(place) != other.get(place)]


def flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """The parts of a value by their places, as text in which each bit counts."""
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        yield path, f"{value.dtype}{value.shape} {digest}"
    elif isinstance(value, bytes):
        yield path, f"{len(value)} bytes {hashlib.sha256(value).hexdigest()[:16]}"
    elif isinstance(value, Mapping):
        yield path, f"keys {list(map(str, value))}"
        for key, item in value.items():
            yield from flat(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        yield path, f"{type(value).__name__} of {len(value)}"
        for index, item in enumerate(value):
            yield from flat(item, f"{path}.{index}")
    elif isinstance(value, set | frozenset):
        yield path, f"set {sorted(map(repr, value))}"
    elif attrs.has(type(value)):
        yield from flat(saved_state(value) or _options(value), path)
    elif value is None or isinstance(value, bool | int | float | str | np.generic):
        yield path, f"{type(value).__name__} {value!r}"
    else:
        yield path, type(value).__name__


def _options(value: Any) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in attrs.fields(type(value)) if field.init}
