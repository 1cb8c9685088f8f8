"""RNN603 where a script trains on other targets than its loader yields: certainly, or by what the loss suggests."""

from __future__ import annotations

from rnncallbacks.alarms.finding import CheckResult, Finding

OTHER_TARGETS = "the script trains on other targets than its loader yields"
LOOK_BETWEEN = "look at what the script does with the targets between the loader and the loss"
SHOW_THEM = "show those that it uses by run.observe(inputs=..., targets=...)"


def check_other_targets(test: str, loss: float, baseline: float | None, *, certain: bool) -> CheckResult:
    """RNN603 if the script certainly trains on other targets, and has not learned them; else it has not passed.

    ``test`` is the dependence of the loader's targets in words, and ``baseline`` the loss of a constant prediction that
    the loss is near to.

    Example
    -------
    >>> check_other_targets("8040 targets depend on the present input", 0.7, 0.69, certain=True).finding.code
    'RNN603'
    """
    shown = f"{test} in the loader's batches"
    if baseline is None:
        return CheckResult(withdrawn={"RNN603": f"{shown}, and the script trains on other targets: {SHOW_THEM}"})
    reason = f"{shown}, and yet the loss, {loss:.4g}, is that of a constant prediction, {baseline:.4g}: the script"
    if not certain:
        return CheckResult(withdrawn={"RNN603": f"{reason} may train on other ones; {SHOW_THEM}"})
    message = f"{reason} trains on other targets, by the loss and the gradients of the first batch"
    evidence = {"loss": loss, "entropy": baseline}
    return CheckResult(finding=Finding("RNN603", message, evidence, cause=OTHER_TARGETS, remedy=LOOK_BETWEEN))
