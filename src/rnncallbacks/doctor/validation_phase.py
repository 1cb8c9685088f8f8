"""The validation of an unchanged script: its losses, and whether it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rnncallbacks.core.run import Run
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.epoch_report import EpochReport
from rnncallbacks.doctor.roles.role_table import Roles
from rnncallbacks.doctor.value_walk import Key


def validation_losses(record: IterationRecord, roles: Roles) -> list[float]:
    """The results of the function of the loss between the training loop's last iteration and this one."""
    for kind, scope, name in (*roles.loss_names, roles.loss or ("", "", "")):
        losses = record.between.get((kind, scope.split("#")[0], name))
        if kind == "return" and losses:
            return losses
    return []


def trains_in_validation(record: IterationRecord, keys: Iterable[Key], batches: int) -> bool:
    """Whether statements added to each parameter in place, for each batch of a validation before an iteration."""
    counts = [record.additions_between.get(record.start_identities.get(key, -1), 0) for key in keys]
    return min(counts, default=0) >= batches > 1


def give_validation(
    run: Run, report: EpochReport, roles: Roles, after: IterationRecord, keys: Mapping[str, Key]
) -> None:
    """Pass the losses of a validation to the run if the script reports their sum over a count."""
    losses = validation_losses(after, roles)
    reported = report.read(losses, after) if losses else None
    if reported is None:
        return
    trains = trains_in_validation(after, keys.values(), len(losses))
    steps = {name: (after.start[key] - run.params[name]) / len(losses) for name, key in keys.items()}
    for loss in run.batches(losses, phase="val"):
        run.record(loss)
        for name in steps if trains else ():
            run.params[name] += steps[name]
    run.log(val_loss=reported)
