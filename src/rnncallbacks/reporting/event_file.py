"""An event file for TensorBoard, written without TensorFlow or PyTorch."""

from __future__ import annotations

import itertools
import os
import platform
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BUCKETS = 30
"""Buckets of a histogram: the default of ``tf.summary.histogram``."""
TEXT_WIDTH = 110
"""Characters of a line of text on TensorBoard's page in a window of 1400 pixels. Measured once."""
_COUNTER = itertools.count()


class EventFile:
    """Scalars, histograms, texts and hyperparameters in one new file, which the functions of the class append to.

    TensorBoard reads all files of a directory as one run. It is written by the calling thread, so that an error of the
    disk is raised by the call that meets it.

    Parameters
    ----------
    directory:
        The directory of the file, which exists.
    purge_from:
        TensorBoard drops the events of earlier files of the directory from this step on.

    Raises
    ------
    ImportError
        The package tensorboard is not installed.
    OSError
        The file cannot be made.
    """

    def __init__(self, directory: Path, *, purge_from: int = 0) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.histogram import metadata as histogram_metadata
        from tensorboard.plugins.hparams import metadata as hparams_metadata
        from tensorboard.plugins.hparams import plugin_data_pb2, summary_v2
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.record_writer import RecordWriter
        from tensorboard.util import tensor_util

        self._events, self._summaries = event_pb2, summary_pb2
        self._text, self._tensor = text_pb, tensor_util.make_tensor_proto
        self._hparams, self._hparams_data, self._hparams_metadata = summary_v2, plugin_data_pb2, hparams_metadata
        self._histogram_metadata = histogram_metadata.create_summary_metadata(None, None)
        name = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}.{next(_COUNTER)}"
        self.path = directory / name
        self._file = open(self.path, "xb")  # noqa: SIM115  (it is open until close)
        self._records = RecordWriter(self._file)
        self._write(event_pb2.Event(file_version="brain.Event:2"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(session_log=start, step=purge_from))
        self.flush()

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by tag."""
        summary = self._summaries.Summary()
        for tag, value in values.items():
            # The format of PyTorch's writer: 1 microsecond a value, and 15 as a tensor. TensorBoard reads both.
            summary.value.add(tag=tag, simple_value=value)
        self._add(summary, step)

    def add_histogram(self, tag: str, array: npt.NDArray[Any], step: int) -> None:
        """Add the histogram of an array's finite entries; nothing if it has none."""
        entries = array[np.isfinite(array)].astype(np.float64)
        if not entries.size:
            return
        counts, edges = np.histogram(entries, BUCKETS)
        table = np.stack([edges[:-1], edges[1:], counts.astype(np.float64)], axis=1)
        summary = self._summaries.Summary()
        tensor = self._tensor(table, dtype=np.float64)
        summary.value.add(tag=tag, metadata=self._histogram_metadata, tensor=tensor)
        self._add(summary, step)

    def add_text(self, tag: str, text: str, step: int) -> None:
        """Add a text, with long lines wrapped, as TensorBoard cuts them."""
        lines = [part for line in text.splitlines() for part in _wrapped(line)]
        self._add(self._text(tag, "\n".join(f"    {line}" for line in lines)), step)  # a block of code in Markdown

    def add_hyperparameters(self, values: Mapping[str, Any]) -> None:
        """Add the settings of the run: numbers, strings and truth values."""
        self._add(self._hparams.hparams_pb(dict(values)), 0)

    def end_session(self) -> None:
        """Write to the page of hyperparameters that the run has succeeded. The first status in a file is final."""
        data, metadata = self._hparams_data, self._hparams_metadata
        end = data.SessionEndInfo(status="STATUS_SUCCESS", end_time_secs=time.time())
        summary = self._summaries.Summary()
        summary.value.add(
            tag=metadata.SESSION_END_INFO_TAG,
            metadata=metadata.create_summary_metadata(data.HParamsPluginData(session_end_info=end)),
            tensor=metadata.NULL_TENSOR,
        )
        self._add(summary, 0)

    def flush(self) -> None:
        """Write the buffered events to the file."""
        self._records.flush()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _add(self, summary: Any, step: int) -> None:
        self._write(self._events.Event(step=step, summary=summary))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())


def _wrapped(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, TEXT_WIDTH, subsequent_indent=indent + "  ", drop_whitespace=True) or [""]
