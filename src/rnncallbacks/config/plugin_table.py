"""One plugin of a configuration."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.define(eq=False)
class Table:
    """One plugin of a configuration.

    Attributes
    ----------
    name:
        The name of the plugin in the run.
    plugin:
        The name of its entry point.
    options:
        The options as written.
    where:
        The place of the table, for messages.
    enabled:
        Whether the plugin runs.
    reason:
        The place that enables or disables it.
    overridden:
        The place that overrides an option, by the option.
    """

    name: str
    plugin: str
    options: dict[str, Any]
    where: str
    enabled: bool
    reason: str
    overridden: dict[str, str] = attrs.field(factory=dict)

    def place_of(self, option: str) -> str:
        """Where an option has its value from, for messages; the empty string stands for the table."""
        return self.overridden.get(option) or f"{self.where} {option}".rstrip()
