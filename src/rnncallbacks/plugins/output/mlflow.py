"""Output: parameters, metrics, alarms and files for MLflow."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks import options
from rnncallbacks.bases.optional_packages import import_extra
from rnncallbacks.bases.run_logger import RunLogger
from rnncallbacks.core.plugin_state import state_field

if TYPE_CHECKING:
    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.core.run import Run

_OPTIONAL_TEXT: options.Validator = attrs.validators.optional(options.text)
STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""MLflow's status by the outcome of a run."""
TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""The tag of an experiment that MLflow's page shows as one of training."""
MOST_METRICS = 1000
MOST_PARAMS = 100
"""Largest numbers of metrics and of parameters in one request. MLflow refuses more."""
LONGEST_KEY = 250
LONGEST_VALUE = 500
LONGEST_TAG = 5000
"""Characters of a name, of a parameter's value and of a tag's: the limits of MLflow's stores, older ones included."""
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Settings of requests. With the defaults of MLflow, training waits minutes for a server that does not answer."""

logger = logging.getLogger("rnncallbacks")


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Mlflow(RunLogger):
    """Logs the run to MLflow, with parameters, metrics, tags and artifacts.

    - Parameters: ``run.facts``.
    - Metrics: ``batch/loss``, ``batch/gradient_norm`` (before clipping), ``batch/learning_rate`` and ``batch/`` with
      the names of ``run.log_batch``; ``epoch/`` with each numeric column of the history. Their step is the number of
      training batches.
    - Tags: each alarm as ``alarm.`` with its code, and the ``outcome``.
    - Artifacts: ``diagnosis.txt``, and the files of the run's directory. List the plugin before ``history_log``, so
      that it is called after it at the end of the run, when the files are complete.

    A run that resumes from a checkpoint continues the same MLflow run. Metrics that the earlier process sent after its
    last checkpoint then occur twice. A process that is killed loses the metrics of its last ``flush_seconds``.

    Metrics wait in memory and are sent together. If the server does not answer, or after another error, the logging
    ends with a warning, and the run continues. A request waits 10 seconds and is retried twice, unless the environment
    sets ``MLFLOW_HTTP_REQUEST_TIMEOUT`` and ``MLFLOW_HTTP_REQUEST_MAX_RETRIES``.

    It takes about 170 microseconds per logged batch with a database in a file. ``every_steps`` reduces their number.

    It needs the extra ``mlflow``, which it imports when the run begins.

    Options
    -------
    tracking_uri:
        Where the runs are stored: the address of a server, or a database such as ``sqlite:///mlflow.db``. None:
        MLflow's default, ``MLFLOW_TRACKING_URI`` or the working directory.
    experiment:
        The name of the experiment, which is created if it does not exist.
    run_name:
        The name of the run. None: the name of the run's directory, or one that MLflow chooses.
    every_steps:
        Log every n-th training batch, n = 1 or more.
    artifacts:
        Whether to send the files of the run's directory at the end of the run.
    flush_seconds:
        Time between two requests, in seconds, 0 or more. Metrics are sent with the first batch after it.

    Raises
    ------
    PluginError
        The package mlflow is not installed.

    Example
    -------
    >>> Mlflow(tracking_uri="sqlite:///mlflow.db", experiment="first").artifacts
    True
    """

    tracking_uri: str | None = attrs.field(kw_only=True, default=None, validator=_OPTIONAL_TEXT)
    experiment: str = attrs.field(kw_only=True, default="rnncallbacks", validator=options.text)
    run_name: str | None = attrs.field(kw_only=True, default=None, validator=_OPTIONAL_TEXT)
    artifacts: bool = attrs.field(kw_only=True, default=True, validator=options.flag)
    flush_seconds: float = attrs.field(kw_only=True, default=5.0, validator=options.number(at_least=0))
    _run_id: str | None = state_field(None)
    _client: Any = state_field(None, saved=False)
    _metric: Any = state_field(None, saved=False)
    _waiting: list[tuple[str, float, int, int]] = state_field(factory=list, saved=False)
    _flushed_at: float = state_field(0.0, saved=False)

    def open(self, run: Run) -> None:
        tracking = import_extra("mlflow.tracking", "the plugin mlflow", "mlflow")
        entities = import_extra("mlflow.entities", "the plugin mlflow", "mlflow")
        self._metric = entities.Metric
        with _short_patience():
            self._client = tracking.MlflowClient(self.tracking_uri)
            there = self._open_again() if self._run_id is not None else None
            if there is None:
                self._run_id = self._create(run)
            params = [
                entities.Param(_key(name), str(value)[:LONGEST_VALUE])
                for name, value in run.facts.items()
                if there is None or _key(name) not in there
            ]
            for first in range(0, len(params), MOST_PARAMS):
                self._client.log_batch(self._run_id, params=params[first : first + MOST_PARAMS])
        self._flushed_at = time.monotonic()

    def write(self, run: Run, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._waiting += [(name, value, now, run.step) for name, value in values.items()]
        if len(self._waiting) >= MOST_METRICS or time.monotonic() - self._flushed_at >= self.flush_seconds:
            self._flush()

    def write_alarm(self, run: Run, alarm: Alarm) -> None:
        with _short_patience():
            self._client.set_tag(self._run_id, _key(f"alarm.{alarm.code}"), str(alarm)[:LONGEST_TAG])

    def close(self, run: Run) -> None:
        assert run.outcome is not None
        self._flush()
        with _short_patience():
            self._client.set_tag(self._run_id, "outcome", str(run.outcome)[:LONGEST_TAG])
            self._client.log_text(self._run_id, f"{run.diagnosis}\n", "diagnosis.txt")
            if self.artifacts and run.directory is not None:
                for path in _files(run.directory):
                    self._client.log_artifact(self._run_id, str(path))
            self._client.set_terminated(self._run_id, STATUS[run.outcome.ending])

    def release(self) -> None:
        self._client = self._metric = None
        self._waiting = []

    def _open_again(self) -> Mapping[str, str] | None:
        """The parameters of the run that is continued, or None if the store does not have it."""
        try:
            params: Mapping[str, str] = self._client.get_run(self._run_id).data.params
            self._client.update_run(self._run_id, status="RUNNING")
        except Exception as error:
            logger.warning("mlflow: the run %s cannot be continued, a new one begins: %s", self._run_id, error)
            return None
        return params

    def _create(self, run: Run) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        number = (
            self._client.create_experiment(self.experiment, tags=TRAINING) if found is None else found.experiment_id
        )
        name = self.run_name or (None if run.directory is None else run.directory.name)
        run_id: str = self._client.create_run(number, run_name=name).info.run_id
        return run_id

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        with _short_patience():
            for first in range(0, len(waiting), MOST_METRICS):
                metrics = [
                    self._metric(_key(name), value, stamp, step)
                    for name, value, stamp, step in waiting[first : first + MOST_METRICS]
                ]
                self._client.log_batch(self._run_id, metrics=metrics)
        self._flushed_at = time.monotonic()


def _key(name: str) -> str:
    """The name with characters that MLflow refuses replaced, and cut to its limit."""
    return re.sub(r"[^\w.\- /:]", "_", name)[:LONGEST_KEY]


def _files(directory: Path) -> list[Path]:
    """The files of a directory, without hidden ones such as locks."""
    return sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))


@contextlib.contextmanager
def _short_patience() -> Iterator[None]:
    missing = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
