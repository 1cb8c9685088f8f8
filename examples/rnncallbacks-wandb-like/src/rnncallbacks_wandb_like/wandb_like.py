"""The history of a run, sent to an HTTP server while it trains."""

from __future__ import annotations

import json
import logging
import urllib.request
from typing import TYPE_CHECKING, Any

import attrs
from rnncallbacks import hookimpl, options
from rnncallbacks.bases import state_field

if TYPE_CHECKING:
    from rnncallbacks import Alarm, EpochSummary

logger = logging.getLogger(__name__)
MOST_KEPT = 1000
"""Lines that are kept while the server is down; older ones are dropped."""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is on this machine or near it


@attrs.define(eq=False, kw_only=True)
class WandbLike:
    """Posts lines of JSON to a server: the row of each epoch, and each alarm when it is first raised.

    A line that cannot be sent is kept, and sent with the next one; the run goes on.

    Options
    -------
    url:
        The address of the server.
    timeout:
        The longest time to wait for an answer, in seconds, above 0.

    Example
    -------
    >>> WandbLike(url="http://127.0.0.1:8000/runs/1")
    WandbLike(url='http://127.0.0.1:8000/runs/1', timeout=1.0)
    """

    url: str = attrs.field(default="http://127.0.0.1:8765/", validator=attrs.validators.matches_re(r"https?://\S+"))
    timeout: float = attrs.field(default=1.0, validator=options.number(above=0, at_most=60))
    _unsent: list[str] = state_field(factory=list)
    _down: bool = state_field(False, saved=False)

    @hookimpl(trylast=True)
    def on_epoch_end(self, summary: EpochSummary) -> None:
        self._send({"row": summary.row})

    @hookimpl
    def on_alarm(self, alarm: Alarm) -> None:
        if alarm.count == 1:
            self._send({"alarm": alarm.code, "message": alarm.message, "step": alarm.step})

    @hookimpl
    def on_fit_end(self) -> None:
        if self._unsent:
            self._post()

    def _send(self, content: dict[str, Any]) -> None:
        self._unsent.append(json.dumps(content))
        del self._unsent[:-MOST_KEPT]
        self._post()

    def _post(self) -> None:
        """Send what is kept. The server being down is told once."""
        body = "".join(f"{line}\n" for line in self._unsent).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/x-ndjson"})
        try:
            with OPENER.open(request, timeout=self.timeout):
                self._unsent.clear()
        except (OSError, ValueError) as error:
            if not self._down:
                logger.warning("%s does not take the history, which is kept until it does: %s", self.url, error)
        self._down = bool(self._unsent)
