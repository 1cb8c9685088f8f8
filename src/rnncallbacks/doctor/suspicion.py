"""The suspicious lines for an alarm: the statements that assign the wrong values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.rate_origin import loops_around, loops_of_calls, rate_origins
from rnncallbacks.doctor.roles.role_table import ParameterRole, Roles, root_of, scope_function
from rnncallbacks.doctor.source_lines import (
    RETURNED,
    SETTER,
    SHOWN,
    AssigningStatement,
    AssigningStatements,
    SourceLine,
)
from rnncallbacks.doctor.state_lines import calls_with_state, zeros_before_loop, zeros_in_loop
from rnncallbacks.doctor.value_flow import (
    SCALES,
    backward_slice,
    calls_with_argument,
    is_size,
    keeps_scale,
    nearer_to_wrong,
    passed_on,
    read_by,
    reading_item,
    statements_of_wrong,
    subtracting,
    sums_read_by,
    with_loop_variables,
    wrong_and_right,
)
from rnncallbacks.doctor.value_walk import Key

GRADIENT_CODES = frozenset({"RNN401", "RNN402", "RNN404", "RNN405", "RNN406"})
UPDATE_CODES = frozenset({"RNN501", "RNN502", "RNN503", "RNN601", "RNN602", "RNN605"})
RATE_CODES = frozenset({"RNN501", "RNN502"})
LOSS_SCALE_CODES = frozenset({"RNN301", "RNN302", "RNN403"})
STATE_CODES = frozenset({"RNN201", "RNN202", "RNN203", "RNN407"})
REPORT_CODES = frozenset({"RNN101", "RNN102"})
CLIPS = re.compile(r"clip|norm", re.IGNORECASE)
"""Statements that may bound gradients."""
MIXES = re.compile(r"perm|shuffl|random|\broll|sort|choice|\[::-1\]|flip")
"""Statements that may mix or shift sequences."""
UPDATES = "updates the parameters"
UNUSED = "assigns the gradient of {}, which no update uses"
RETURNS = "returns what it assigns"
OF_EVERY = "every wrong gradient depends on it"
PASSES_ON = "passes the gradient from one layer to another"
MOST_LINES = 4  # of one alarm, chosen by eye


class Suspicion:
    """Finds the suspicious lines for an alarm.

    Parameters
    ----------
    statements:
        The statements of the user's files.
    roles, record:
        The roles of the loop's values, and an iteration with all of them.
    loop:
        The training loop.
    """

    def __init__(self, statements: AssigningStatements, roles: Roles, record: IterationRecord, loop: Site) -> None:
        self._statements = statements
        self._roles = roles
        self._record = record
        self._loop = loop
        # Gradients depend on the parameters that enter the iteration, not on their update in it.
        updated = {text for one in roles.parameters for text in (one.key[2], root_of(one.key[2]))}
        trained = statements.until_end_of(loop.file, loop.line)
        self._computing = [one for one in trained if not one.targets & updated]
        self.reports: dict[str, Key | None] = {}

    def lines(self, alarm: Alarm) -> list[SourceLine]:
        """The suspicious lines for an alarm, the likeliest first; empty if nothing is known."""
        found: list[SourceLine] = []
        if alarm.code == "RNN401" and "spectral_radius" in alarm.evidence:
            found = self._initial_values(alarm.message)
        if alarm.code in GRADIENT_CODES:
            found += self._gradient_lines(alarm)
        elif alarm.code in UPDATE_CODES:
            found = self._update_lines(alarm)
        elif alarm.code in LOSS_SCALE_CODES:
            found = self._of_loss()
            sums = sums_read_by(self._statements.all, found)
            added = [one.shown("adds to it") for one in sums]
            if alarm.code == "RNN302" and sums:
                read = [one.shown("what is added depends on it") for one in read_by(self._statements.all, sums[:1])]
                found = found[:1] + added[:1] + read[:2] + found[1:]
            elif alarm.code == "RNN302":
                found = found[:2] + self._outputs(found[:1]) + found[2:]
            found += added
        elif alarm.code in STATE_CODES:
            found = self._zeros_that_enter() if alarm.code == "RNN203" else []
            keys = [*self._roles.carried, self._roles.hidden, self._roles.entering]
            found += self._of_keys(keys, "assigns the state")
        elif alarm.code in REPORT_CODES:
            found = [line for phase in self._phases_of(alarm) for line in self._report_lines(self.reports.get(phase))]
        elif alarm.code == "RNN701":
            found = self._updates_elsewhere()
        elif alarm.code == "RNN603":
            found = self._data_lines()
        elif alarm.code == "RNN303":
            found = self._initial_values()
        first = {(one.file, one.line): place for place, one in reversed(list(enumerate(found)))}
        return [found[place] for place in sorted(first.values())][:MOST_LINES]

    def _gradient_lines(self, alarm: Alarm) -> list[SourceLine]:
        wrong, right = wrong_and_right(alarm, [one.name for one in self._roles.with_gradient])
        by_name = {one.name: one for one in self._roles.with_gradient}
        accused = [self._of_gradient(by_name[name]) for name in wrong]
        cleared = [self._of_gradient(by_name[name]) for name in right]
        assigned = [(name, found[0]) for name, found in zip(wrong, accused, strict=True) if found]
        direct = [one.shown(f"assigns the gradient of {name}") for name, one in assigned]
        if alarm.code == "RNN406":
            sources = backward_slice(self._computing, accused[0] if accused else ())
            own = [one for some in accused[:1] for last in some[:1] for one in self._statements.blanks_of(last)]
            zeros = [one.shown("sets it to zero") for one in (*own, *sources) if one.blank]
            return direct[:2] + zeros + direct[2:]
        common = statements_of_wrong(self._computing, accused, cleared)
        behind = [one.shown(OF_EVERY) for one in self._statements.with_called(common)]
        if not {*common} - {one for some in accused for one in some}:  # or a right one is off by little
            behind = [one.shown(RETURNS) for some in accused for one in self._statements.returning(some[:1])]
            behind = [one.shown(OF_EVERY) for one in nearer_to_wrong(self._computing, accused, cleared)][:1] + behind
            behind += [one.shown(OF_EVERY) for one in statements_of_wrong(self._computing, accused, ())]
        if not right:  # all are off: by a factor that one of them brings in
            order = keeps_scale if alarm.code == "RNN405" else is_size
            behind = [one.shown(OF_EVERY) for one in sorted(common, key=order)]
            return behind[:2] + self._of_loss()[:2] + direct
        if "is zero" in alarm.message:  # nothing may add to it
            behind = [line for name, one in assigned[:1] for line in self._zeros_of(by_name[name], one)] + behind
        between = [one.shown(PASSES_ON) for one in passed_on(self._computing, accused, cleared)]
        direct = self._upward_steps(wrong) + direct
        return direct[:1] + behind[: MOST_LINES - 1 - min(1, len(between))] + between + behind + direct[1:]

    def _zeros_of(self, role: ParameterRole, assigning: AssigningStatement) -> list[SourceLine]:
        """The statement that makes the zeros of a gradient, under the same name if a function does so."""
        names = {root_of(key[2]) for key in (role.gradient, role.fallback, *role.other_names) if key is not None}
        blank = [one for one in self._statements.with_called([assigning]) if one.blank]
        blank.sort(key=lambda one: not one.targets & names)
        return [one.shown("makes it zero") for one in blank[:1]]

    def _upward_steps(self, names: Sequence[str]) -> list[SourceLine]:
        """The statements that update along these gradients, where the others are of another sign: steps that go up."""
        roles = self._roles
        signs = {one.scale > 0 for one in roles.with_gradient if one.name not in names}
        trained = {root_of(key[2]) for key in (*roles.optimizer_state, *(one.key for one in roles.parameters))}
        found = []
        for one in roles.with_gradient:
            if one.name in names and signs == {one.scale < 0}:
                keys = [key for key in (one.gradient, one.fallback, *one.other_names) if key is not None]
                read = with_loop_variables(self._statements.all, {root_of(key[2]) for key in keys})
                own = trained | with_loop_variables(self._statements.all, {root_of(one.key[2])})
                steps = [step for step in self._statements.all if step.reads & read and step.targets & own]
                found += [step for step in steps if not step.source.startswith("for ")]
        return [one.shown(UPDATES) for one in found]

    def _of_gradient(self, one: ParameterRole) -> list[AssigningStatement]:
        """The recorded statements that changed the gradient's array; else those that assign its name."""
        kept, parameters = self._roles.optimizer_state, [other.key for other in self._roles.parameters]
        sites = self._record.sites_of(one.gradient, kept, parameters) if one.gradient else ()
        keys = [key for key in (one.fallback, one.gradient, *one.other_names) if key is not None]
        seen = [found for site in sites if site.additive for found in self._at(site)]
        items = [found for found in seen if any(found.assigns_item(key[2]) for key in keys)]
        if seen:
            return items or seen
        for kind, scope, name in keys:
            function = scope_function(scope)
            inside = [found for found in self._statements.of(name, function) if found.scope == function]
            if kind == "local" and any(not found.blank for found in inside):
                return [found for found in inside if not found.blank]
        for key in (one.fallback, one.gradient):
            if key is not None and key[0] != "raw" and (found := self._of_key(key)):
                return found
        return [found for site in sites for found in self._at(site)]

    def _update_lines(self, alarm: Alarm | None = None) -> list[SourceLine]:
        found: list[SourceLine] = []
        for one in self._roles.parameters:
            sites = self._record.changes.get(self._record.start_identities.get(one.key, -1), ())
            found += [SourceLine(site.file, site.line, site.source, UPDATES) for site in sites[-1:]]
        found = list(dict.fromkeys(found or self._assigning_updates()))[:2]
        if not found:
            return self._of_keys([one.key for one in self._roles.parameters], "assigns the parameters")
        places = [(one.file, one.line) for one in found]
        still = [one for one in self._roles.with_gradient if alarm and alarm.evidence.get("array") == one.name]
        if still:
            found += [one.shown(UNUSED.format(still[0].name)) for one in self._of_gradient(still[0])[:1]]
        loops, rates = (find(self._statements.sources, places) for find in (loops_around, rate_origins))
        if alarm and alarm.code == "RNN503":
            loops += loops_of_calls(self._statements, places, self._loop)
        if alarm and alarm.code in RATE_CODES:
            named = [(one.gradient, one.fallback) for one in self._roles.with_gradient]
            gradients = {root_of(key[2]) for keys in named for key in keys if key is not None}
            clips = [one for one in self._statements.all if CLIPS.search(one.source) and one.targets & gradients]
            found += [one.shown("clips the gradients") for one in clips[:1]]
        return found + (rates[::-1] + loops if alarm and alarm.code == "RNN502" else loops + rates)

    def _data_lines(self) -> list[SourceLine]:
        """The statements that assign or pass the data, and those behind them; first those that may mix or shift it."""
        found: list[AssigningStatement] = []
        for key in filter(None, (self._roles.targets, self._roles.inputs)):
            assigning = self._of_key(key)
            own = [one for one in assigning if not one.blank or len(assigning) == 1]
            local = key[0] == "local"
            found += calls_with_argument(self._statements.all, scope_function(key[1]), key[2]) if local else []
            found += own if key[2].isidentifier() else [*reading_item(self._statements.all, key[2]), *own]
        behind = [
            earlier
            for one in found
            for text in sorted(one.reads)
            for earlier in self._statements.of(text, one.scope)
            if text.isidentifier() and not earlier.blank
        ]
        returned = [inner for one in (*found, *behind) for inner in self._statements.returned_by(one)]
        rest = [one for one in dict.fromkeys((*returned, *behind)) if one not in found]
        rest.sort(key=lambda one: not MIXES.search(one.source))
        shown = [one.shown("assigns the data") for one in dict.fromkeys(found)]
        return shown[:2] + [one.shown("the data depends on it") for one in rest] + shown[2:]

    def _initial_values(self, named_in: str = "") -> list[SourceLine]:
        """The statements that make the weights, or those that a text names: the last ones, before logits, first."""
        named = [one for one in self._roles.parameters if f"'{one.name}'" in named_in or f'"{one.name}"' in named_in]
        roles = reversed(named if named_in else self._roles.parameters)
        made = [one for role in roles for one in self._of_key(role.key) if not one.blank]
        places = {(one.file, one.line) for one in self._update_lines()}
        return [one.shown("makes initial weights") for one in made if (one.file, one.line) not in places]

    def _updates_elsewhere(self) -> list[SourceLine]:
        """The statements that are an update written again, and those that call its function."""
        places = {(one.file, one.line) for one in self._update_lines() if one.why == UPDATES}
        updates = [one for one in self._statements.all if (one.file, one.line) in places]
        sources = {one.source for one in updates}
        functions = {one.scope.rpartition(".")[2] for one in updates}
        again = [one for one in self._statements.all if one.source in sources and one not in updates]
        calls = [one for one in self._statements.all if one.calls & functions]
        return [one.shown(UPDATES) for one in again] + [one.shown("calls the update") for one in reversed(calls)]

    def _assigning_updates(self) -> list[SourceLine]:
        """The statements that make new parameters from the gradients, where none changes them in place."""
        named = [key for one in self._roles.with_gradient for key in (one.gradient, one.fallback) if key is not None]
        roots = {(scope_function(key[1]), root_of(key[2])) for key in named if key[0] == "local"}
        setting = [one for one in self._statements.all if SETTER in one.targets]
        trained = {root_of(one.key[2]) for one in self._roles.parameters}
        reading = [
            one
            for one in self._statements.all
            if any(one.scope == function and root in one.reads - one.targets for function, root in roots)
        ]
        replacing = setting or [one for one in reading if one.targets & trained]
        if not replacing:
            every = [(one.gradient, one.fallback, *one.other_names) for one in self._roles.with_gradient]
            gradients = {root_of(key[2]) for keys in every for key in keys if key is not None}
            replacing = subtracting(self._statements.all, gradients)  # from no parameter, such as a copy
            replacing = replacing or [one for one in reading if RETURNED in one.targets]
        return [one.shown(UPDATES) for one in replacing]

    def _phases_of(self, alarm: Alarm) -> list[str]:
        """The phases whose report an alarm calls wrong; all if it names none."""
        return [phase for phase in self.reports if f"{phase}_divisor" in alarm.evidence] or list(self.reports)

    def _report_lines(self, report: Key | None) -> list[SourceLine]:
        """The statement that reports it, shows or assigns it; then those that assign what it adds."""
        if report is None:
            return []
        if report[0] == "shown":
            found = [one for one in self._statements.all if one.place == report[1] and SHOWN in one.targets]
        else:
            found = self._statements.adding_to(report[2])
        if not found:
            return self._of_keys([report], "assigns the report")
        added = [self._statements.of(text, one.scope) for one in found for text in sorted(one.reads)]
        inside = [one for some in added for one in some if one.scope == found[0].scope and not one.blank]
        behind = [one for one in inside if SHOWN not in one.targets]
        returned = [inner.shown(RETURNS) for one in behind for inner in self._statements.returned_by(one)]
        divided = [one.shown("assigns what is reported") for one in behind if SCALES.search(one.source)]
        return [found[0].shown("reports it"), *returned, *divided]

    def _of_loss(self) -> list[SourceLine]:
        names = [one for one in self._roles.loss_names if one[0] != "end"]
        found = self._of_keys([self._roles.loss, *names], "assigns the loss")
        deepest = {(one.file, one.line) for key in names[:1] if key[0] == "return" for one in self._of_key(key)}
        return found[:1] + sorted(found[1:], key=lambda one: ((one.file, one.line) not in deepest, one.why != RETURNS))

    def _outputs(self, lines: Iterable[SourceLine]) -> list[SourceLine]:
        """The statements that return the arguments from which some lines compute the loss: where a softmax is."""
        places = {(one.file, one.line) for one in lines}
        computing = [one for one in self._statements.all if (one.file, one.line) in places]
        reads = [(text, one.scope) for one in computing for text in sorted(one.reads) if text.isidentifier()]
        behind = [earlier for text, scope in reads for earlier in self._statements.of(text, scope)]
        returned = [inner for one in behind if one not in computing for inner in self._statements.returned_by(one)]
        return [one.shown("returns what the loss is computed from") for one in dict.fromkeys(returned)][:2]

    def _zeros_that_enter(self) -> list[SourceLine]:
        """The statements that make the entering state in the loop; else those that pass it on: a call returned it."""
        hidden = self._roles.hidden
        name = "" if hidden is None or hidden[0] != "local" else scope_function(hidden[1]).rpartition(".")[2]
        inside = zeros_in_loop(self._statements, self._loop) or calls_with_state(self._statements, name)
        return inside or zeros_before_loop(self._statements, self._loop)

    def _of_keys(self, keys: Iterable[Key | None], why: str) -> list[SourceLine]:
        each = [self._of_key(key)[:3] for key in keys if key is not None]
        found = [one for turn in zip_longest(*each) for one in turn if one is not None]
        lines = [one.shown(why) for one in found if not one.blank] or [one.shown(why) for one in found]
        returned = [inner.shown(RETURNS) for one in found for inner in self._statements.returned_by(one)[:2]]
        return lines[:2] + returned + lines[2:]

    def _of_key(self, key: Key) -> list[AssigningStatement]:
        kind, scope, name = key
        function = scope_function(scope)
        if kind == "return":
            return [one for one in self._statements.of(RETURNED, function) if one.scope == function]
        if kind == "operand":
            place = next((one.scope for one in self._statements.all if one.place == scope), None)
            return self._statements.of(name.split("#")[0], place)
        where = function if kind == "local" else self._loop.scope
        return self._statements.of(name, where)

    def _at(self, site: Site) -> list[AssigningStatement]:
        return [one for one in self._statements.all if (one.file, one.line) == (site.file, site.line)]
