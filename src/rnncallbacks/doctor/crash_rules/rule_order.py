"""The order of the rules: the first that recognizes an error explains it."""

from __future__ import annotations

from collections.abc import Callable

from rnncallbacks.doctor.crash_rules import environment_rules, numpy_rules, python2_rules
from rnncallbacks.doctor.crash_rules.failure import Advice, Failure

RULES: tuple[Callable[[Failure], Advice | None], ...] = (
    environment_rules.refused_by_the_sandbox,
    python2_rules.syntax,
    numpy_rules.numpy_removal,
    numpy_rules.array_as_number,
    numpy_rules.ragged,
    environment_rules.arguments_needed,
    environment_rules.missing_file,
    environment_rules.missing_module,
    python2_rules.python2_names,
    python2_rules.python2_lists,
    python2_rules.python2_division,
    python2_rules.bytes_and_text,
    numpy_rules.numpy2_behavior,
    numpy_rules.not_finite,
    environment_rules.input_asked,
    environment_rules.ended_by_itself,
)
