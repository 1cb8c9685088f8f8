"""``rnncallbacks doctor``: a script as it is, for a bounded number of batches, with every guard on its runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.diagnosis import Repair
from rnncallbacks.bases.guard import Guard
from rnncallbacks.cli.script_runner import Outcome, elsewhere, run_script
from rnncallbacks.config.configuration import Configuration, read_configuration
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.config.plugin_options import one_line
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_manager import Plugins
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import TRAIN, Run
from rnncallbacks.errors import PluginError
from rnncallbacks.files import json_text
from rnncallbacks.reporting.terminal import counted, show_diagnosis, verdict

INTERRUPTED = 130
OURS = "rnncallbacks"
ALARM = "divergence_alarm"
SELECTION = "alarm_selection"
WRITERS = ("checkpoint", "history_log")
"""Plugins that are taken out of the script's runs: a diagnosis begins anew, and leaves the files of real runs alone."""
TOO_SHORT = "the run was too short"


@attrs.define(eq=False)
class Limit:
    """Ends a run in the epoch that reaches a number of training batches, or behind as many epochs without any.

    The rest of that epoch's training is left out. Its other phases go on, as scripts divide by their batches.
    """

    batches: int
    reached: bool = state_field(False)
    _batches: int = state_field(0)
    _epochs: int = state_field(0)

    @property
    def full(self) -> bool:
        """Whether there were as many training batches as may be."""
        return self._batches >= self.batches

    def count(self, items: Iterator[Any]) -> Iterator[Any]:
        """Pass training batches on until there were enough."""
        try:
            while not self.full:
                try:
                    item = next(items)
                except StopIteration:
                    return
                self._batches += 1
                yield item
        finally:
            items.close()  # type: ignore[attr-defined]

    @hookimpl(trylast=True)
    def on_epoch_start(self, run: Run) -> None:
        self._epochs += 1
        if self._epochs > self.batches:
            self._stop(run, "epochs")

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        if self.full:
            self._stop(run, "batches")

    def _stop(self, run: Run, what: str) -> None:
        self.reached = run.stop_reason is None
        run.stop(f"doctor: {self.batches} {what} are enough")


@attrs.define(eq=False)
class Case:
    """One run of the script, what was added to it and taken out of it, and what ends it."""

    run: Run
    limit: Limit
    added: list[str] = attrs.field(factory=list)
    removed: list[str] = attrs.field(factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The case as plain values, ready for JSON."""
        return {
            "epochs": self.run.epoch,
            "batches": self.run.step,
            "cut_short": self.limit.reached,
            "stop_reason": self.run.stop_reason,
            "added": self.added,
            "removed": self.removed,
            **self.run.diagnosis.to_dict(),
        }


@attrs.define(eq=False)
class Doctor:
    """Attends to each run that is entered while it is on duty."""

    configuration: Configuration
    batches: int
    cases: list[Case] = attrs.field(factory=list)
    _writers: tuple[type, ...] = attrs.field(init=False)
    _progress: tuple[type, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._writers = tuple(self._class(name) for name in WRITERS)
        self._progress = (self._class("progress"),)

    @contextmanager
    def on_duty(self) -> Iterator[None]:
        """Stand at the door of every run; alarms are told at the end, and not logged before."""
        enter, batches = Run.__enter__, Run.batches

        def attended(run: Run) -> Any:
            entered = enter(run)
            self._attend(run)
            return entered

        def limited(run: Run, loader: Iterable[Any], phase: str = TRAIN) -> Iterator[Any]:
            limit = next((case.limit for case in self.cases if case.run is run), None)
            items = batches(run, loader, phase)
            return items if limit is None or phase != TRAIN else limit.count(items)

        logger = logging.getLogger(OURS)
        Run.__enter__ = attended  # type: ignore[method-assign]
        Run.batches = limited  # type: ignore[assignment,method-assign]
        logger.addFilter(_no_finding)
        try:
            yield
        finally:
            logger.removeFilter(_no_finding)
            Run.__enter__, Run.batches = enter, batches  # type: ignore[method-assign]

    def _attend(self, run: Run) -> None:
        case = Case(run, Limit(self.batches))
        for name, plugin in list(run.plugins.items()):
            if isinstance(plugin, self._writers):
                run.unregister(name)
                case.removed.append(name)
            elif isinstance(plugin, self._progress):
                plugin.summary = False  # type: ignore[attr-defined]  # it would say all of it before
        for name, plugin in self.configuration.make().items():
            if not any(type(known) is type(plugin) for known in run.plugins.values()):
                case.added.append(run.register(plugin, _free(name, run)))
        run.register(case.limit, _free("doctor", run))
        self.cases.append(case)

    def _class(self, name: str) -> type:
        return self.configuration.installed[name].load()  # type: ignore[return-value]


def examine(
    script: Path,
    arguments: list[str],
    batches: int,
    config: Path | None,
    enable: list[str],
    disable: list[str],
    as_json: bool,
) -> int:
    """Run the script, print the diagnosis, and return the exit status."""
    configuration = guards(config, enable, disable)
    Plugins(configuration.make())  # what cannot serve is told before the script begins
    doctor = Doctor(configuration, batches)
    with elsewhere(as_json), doctor.on_duty():
        outcome = run_script(script, arguments)
    status = _status(doctor.cases, outcome)
    if as_json:
        click.echo(json_text(_document(script, arguments, doctor.cases, outcome, status), indent=2))
    else:
        _show(Console(highlight=False), script, doctor.cases, outcome)
    return status


def guards(config: Path | None, enable: list[str], disable: list[str]) -> Configuration:
    """The configuration reduced to what makes a diagnosis, with every guard that comes with the library in it.

    Guards of others, and options of ours, are those that the configuration has; whatever -p names comes too.
    """
    behind: dict[str, dict[str, Any]] = {}
    for found in find_plugins():
        if found.distribution != OURS:
            continue
        try:
            if _is_guard(found.load()):
                behind[found.name] = {}
        except PluginError as error:
            click.echo(f"left out: {one_line(error)}", err=True)
    behind[ALARM] = {"action": "warn"}
    configuration = read_configuration(config, enable=enable, disable=disable, otherwise={}, behind=behind)
    for name, table in list(configuration.tables.items()):
        if table.plugin in (ALARM, SELECTION) or table.reason == "-p" or not table.enabled:
            continue
        installed = configuration.installed.get(table.plugin)
        try:
            if installed is None or not _is_guard(installed.load()):
                del configuration.tables[name]
        except PluginError as error:
            click.echo(f"left out: {one_line(error)}", err=True)
            del configuration.tables[name]
    return configuration


def _is_guard(factory: Callable[..., object]) -> bool:
    return isinstance(factory, type) and issubclass(factory, Guard)


def _free(name: str, run: Run) -> str:
    """The name, with underscores behind it if the run has a plugin that bears it."""
    while name in run.plugins:
        name += "_"
    return name


def _no_finding(record: logging.LogRecord) -> bool:
    return not (isinstance(record.args, tuple) and any(isinstance(one, Alarm | Repair) for one in record.args))


def _fired(cases: list[Case]) -> bool:
    return any(cause.severity != "info" for case in cases for cause in case.run.diagnosis.causes)


def _cut(cases: list[Case]) -> bool:
    return any(case.limit.reached for case in cases)


def _status(cases: list[Case], outcome: Outcome) -> int:
    if _fired(cases):
        return 1
    if outcome.interrupted:
        return INTERRUPTED
    if outcome.error is not None and not _cut(cases):
        return 2
    return 0 if any(case.run.step for case in cases) else 2


def _conclusion(cases: list[Case], outcome: Outcome) -> str:
    """The verdict, in one line."""
    if not cases:
        return "no Run was entered, so there is nothing to diagnose; put one around the training loop"
    if not any(case.run.step for case in cases):
        return "no training batch was seen, so there is nothing to diagnose"
    return verdict(case.run.diagnosis for case in cases)


def _document(script: Path, arguments: list[str], cases: list[Case], outcome: Outcome, status: int) -> dict[str, Any]:
    return {
        "script": str(script),
        "arguments": arguments,
        "exit_status": status,
        "verdict": _conclusion(cases, outcome),
        "error": outcome.said,
        "interrupted": outcome.interrupted,
        "runs": [case.to_dict() for case in cases],
    }


def _show(console: Console, script: Path, cases: list[Case], outcome: Outcome) -> None:
    sys.stdout.flush()
    console.print()
    for number, case in enumerate(cases, 1):
        which = f"run {number} of {len(cases)} in {script}" if len(cases) > 1 else f"the run in {script}"
        run = case.run
        length = f"{counted(run.epoch, 'epoch')} begun, {counted(run.step, 'training batch', 'training batches')}"
        console.print(f"[bold]{which}[/]: {length}" + (", then stopped by doctor" if case.limit.reached else ""))
        if case.removed:
            console.print(f"left out, so that no file of a real run is touched: {', '.join(case.removed)}")
        show_diagnosis(console, run.diagnosis)
        if case.limit.reached and TOO_SHORT in run.diagnosis.not_checked.values():
            console.print(f"  --batches {10 * case.limit.batches} would give them more")
        console.print()
    if outcome.interrupted:
        console.print("interrupted: this is the diagnosis so far")
    elif outcome.error is not None and _cut(cases):
        console.print(
            "The script failed after doctor had stopped its run: it may need the epochs that were left out. "
            "That is no finding."
        )
    console.print(f"[bold]verdict[/]: {_conclusion(cases, outcome)}", soft_wrap=True)
