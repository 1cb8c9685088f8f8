"""A run, sent to an HTTP server while it trains."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
from rnncallbacks import options
from rnncallbacks.bases import RunLogger, state_field

if TYPE_CHECKING:
    from rnncallbacks import Alarm, Run

logger = logging.getLogger(__name__)
MOST_KEPT = 1000
"""Lines that are kept while the server is down; older ones are dropped."""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is on this machine or near it


@attrs.define(eq=False, kw_only=True)
class WandbLike(RunLogger):
    """Posts lines of JSON to a server at the end of each epoch and at each alarm.

    Lines that cannot be sent are kept, and sent with the next ones. The run continues.

    Options
    -------
    url:
        The address of the server.
    timeout:
        The longest time to wait for an answer, in seconds, above 0.
    every_steps:
        Number of training batches from one whose values are sent to the next, 1 or more.

    Example
    -------
    >>> WandbLike(url="http://127.0.0.1:8000/runs/1").timeout
    1.0
    """

    url: str = attrs.field(default="http://127.0.0.1:8765/", validator=attrs.validators.matches_re(r"https?://\S+"))
    timeout: float = attrs.field(default=1.0, validator=options.number(above=0, at_most=60))
    _unsent: list[str] = state_field(factory=list)
    _down: bool = state_field(False, saved=False)

    def open(self, run: Run) -> None:
        self._keep({"facts": dict(run.facts)})

    def write(self, run: Run, values: Mapping[str, float]) -> None:
        self._keep({"step": run.step, **values})
        if any(name.startswith("epoch/") for name in values):
            self._post()

    def write_alarm(self, run: Run, alarm: Alarm) -> None:
        self._keep({"step": alarm.step, "alarm": alarm.code, "message": alarm.message})
        self._post()

    def close(self, run: Run) -> None:
        self._keep({"step": run.step, "outcome": str(run.outcome)})
        self._post()

    def _keep(self, content: Mapping[str, object]) -> None:
        self._unsent.append(json.dumps(content))
        del self._unsent[:-MOST_KEPT]

    def _post(self) -> None:
        """Send the lines that are kept. A server that is down is logged once."""
        body = "".join(f"{line}\n" for line in self._unsent).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/x-ndjson"})
        try:
            with OPENER.open(request, timeout=self.timeout):
                self._unsent.clear()
        except (OSError, ValueError) as error:
            if not self._down:
                logger.warning("%s does not take the history, which is kept until it does: %s", self.url, error)
        self._down = bool(self._unsent)
