"""Early stopping: a plateau alarm that stops the run and restores the best parameters."""

from __future__ import annotations

from typing import Literal

import attrs

from rnncallbacks import options
from rnncallbacks.plugins.alarms.plateau_alarm import PlateauAlarm


@attrs.define(eq=False, kw_only=True)
class EarlyStopping(PlateauAlarm):
    """Stops the run after ``patience`` consecutive epochs without improvement, and restores the best parameters.

    It is a :class:`~rnncallbacks.plugins.alarms.plateau_alarm.PlateauAlarm` with other defaults: ``monitor`` is
    "val_loss", ``action`` is "stop", and ``restore_best`` is True.

    Source: Prechelt, "Early stopping - but when?" (1998).

    Example
    -------
    >>> EarlyStopping(patience=3).action
    'stop'
    """

    monitor: str = attrs.field(default="val_loss", validator=options.column)
    action: Literal["warn", "stop", "raise"] = attrs.field(
        default="stop", validator=options.one_of("warn", "stop", "raise")
    )
    restore_best: bool = attrs.field(default=True, validator=options.flag)
