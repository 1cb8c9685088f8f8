"""Writes a script with ``Run`` around its training loop."""

from __future__ import annotations

import ast

import attrs

from rnncallbacks.doctor.hooking.epoch_hooks import report_place, validation_places
from rnncallbacks.doctor.hooking.hook_place import (
    HookPlace,
    ProbedScript,
    UpdatePlace,
    find_hook_place,
    find_update_place,
)
from rnncallbacks.doctor.hooking.hooked_loop import (
    Function,
    HookedLoop,
    block_of,
    body_with,
    epoch_loops,
    is_called_in_loop,
    loop_at,
    parents_of,
)
from rnncallbacks.doctor.hooking.loss_function import COPIED, loss_function
from rnncallbacks.doctor.hooking.script_lines import ScriptLines
from rnncallbacks.doctor.hooking.statement_lines import with_statement_lines
from rnncallbacks.doctor.hooking.written_code import (
    WrittenNames,
    bracketed,
    call_with_arrays,
    column_of,
    import_lines,
    imports_numpy,
    in_steps,
    loop_targets,
    scaled,
    stays_first,
)
from rnncallbacks.errors import DataError


def hooked_script(loop: HookedLoop, script: ProbedScript | None = None) -> str:
    """The text of the loop's file with ``Run`` around the loop.

    The script runs for a few passes, in the sandbox, to find the place of ``run.backward``: the file of the loop
    without arguments, unless ``script`` is another one.

    Raises
    ------
    DataError
        The loop has no place for the hook; the message gives the reason.
    """
    script, loop = script or ProbedScript(), with_statement_lines(loop)
    if loop.block is None:
        place = find_hook_place(loop, script)
        return _Writer(loop, place, place, UpdatePlace(place.update, place.replaced)).text()
    update = find_update_place(loop, script)
    if not loop.loss_in_loop:
        place = find_hook_place(loop, script)
        return _Writer(loop, place, place, update).text()
    of_loss = attrs.evolve(loop, block=None, parameters=())
    of_gradients = attrs.evolve(loop, loss=loop.parameters[0].gradient, observed={})
    loss_place, place = (find_hook_place(one, script) for one in (of_loss, of_gradients))
    return _Writer(loop, loss_place, place, update).text()


class _Writer:
    def __init__(self, loop: HookedLoop, loss_place: HookPlace, place: HookPlace, update: UpdatePlace) -> None:
        self.loop = loop
        self.update = update
        self.loss_place = loss_place
        self.place = place
        self.tree = ast.parse(loop.source.text)
        self.node = loop_at(self.tree, loop.source, loop.line)
        self.block = block_of(self.tree, loop)
        self.loss_block = self.node if loop.loss_in_loop else self.block
        self.body = loop.body_in(self.block)
        self.loss_body = body_with(self.node, [loop.loss]) if loop.loss_in_loop else self.body
        self.lines = ScriptLines(loop.source.text)
        self.names = WrittenNames.free_in(self.tree)
        self._copies_in_loss = False
        above = parents_of(self.tree, self.node)
        self.function = next((one for one in above if isinstance(one, Function)), None)
        inside = above[: above.index(self.function)] if self.function is not None else above
        self.outer = epoch_loops([one for one in inside if isinstance(one, ast.For | ast.While)], loop.source)

    def text(self) -> str:
        for node in (self.node, self.block):
            if node.body[0].lineno == node.lineno:
                where = self.loop.source.location(node.lineno)
                raise DataError(f"{where}: expected the body of the loop on lines of its own")
        self._hook_batch()
        self._hook_epoch()
        # The text before the loop changes last: what is put before a line stands in the order in which it is put.
        if self._called_again():
            self._keep_one_run()
        else:
            self._enter_run()
        self._wrap_loop()
        text = self.lines.text()
        ast.parse(text)
        return text

    # The batch -------------------------------------------------------------------------------------------------------

    def _hook_batch(self) -> None:
        run, apart = self.names.run, self.loss_block is not self.block
        observed = {
            name: text for name, text in self.loop.observed.items() if f"observed {name}" in self.loss_place.kinds
        }
        values = [f"{name}={self._steps(name, text)}" for name, text in observed.items()] + self._keep_values()
        shown = [f"{run}.observe({', '.join(values)})"] if values else []
        closure = self._loss_again()
        if apart:
            shown.append(f"{self.names.batch_loss}[:] = [{self._loss()}, {closure}]")
            self._put_after(self.loss_body, self.loss_place.backward, shown)
        gradients = [(one.name, self._gradient(number)) for number, one in enumerate(self.loop.parameters)]
        loss = f"{self.names.batch_loss}[0]" if apart else self._loss()
        again = f"{self.names.batch_loss}[1]" if apart else closure
        lines = [] if apart else shown
        if self._copies:
            lines += call_with_arrays(f"{run}.params = ", self._pairs(), "")
        lines += call_with_arrays(
            f"{run}.backward({loss}, ", gradients, ")" if again == "None" else f", closure={again})"
        )
        if self.block is not self.node:  # the function may be called outside of the loop as well
            lines = [f"if {run} is not None and {run}.batch is not None:", *(f"    {one}" for one in lines)]
        self._put_after(self.body, self.place.backward, lines)
        if self._copies or self.update.replaced:
            body = self.loop.body_in(self.node)
            after = self.update.after if self.update.after is not None else len(body)
            pairs = self._pairs(before=self.block is not self.node)
            self._put_after(body, after, call_with_arrays(f"{run}.params = ", pairs, ""))

    def _keep_values(self) -> list[str]:
        """Keep values that only a function knows, and return the arguments that show them in the loop."""
        shown = []
        for name, (line, text) in self.loop.observed_in.items():
            function = next(
                node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef) and node.lineno == line
            )
            last = function.body[-1]
            if not isinstance(last, ast.Return) or last.lineno == function.lineno:
                continue
            kept = f"{self.names.batch_values}[{name!r}]"
            self._put(last.lineno, [f"{kept} = {in_steps(text)}"])
            shown.append(f"{name}={kept}")
        return shown

    def _hook_epoch(self) -> None:
        """Log the loss that the script reports of an epoch, and go through validation batches with the run."""
        run = self.names.run
        report = report_place(self.tree, self.loop, self.outer)
        if report is not None:
            lines = [f"{run}.log({', '.join(f'{name}={text}' for name, text in report.logged.items())})"]
            if not report.in_epoch:  # the statement may be reached without a run
                lines = [f"if {run} is not None and {run}.epoch:", f"    {lines[0]}"]
            start = self.lines.indentation(report.statement.lineno)
            self.lines.put_after(report.statement.end_lineno or 0, [start + one for one in lines])
        for found in validation_places(self.node, self.loop, self.outer):
            self._wrap_iterable(found.loop, ', phase="val"')
            shown = [f"{run}.observe({', '.join(f'{name}={text}' for name, text in found.observed.items())})"]
            shown = [*shown[: len(found.observed)], f"{run}.record({self._loss()})"]
            self._put_after(found.loop.body, found.known, shown)

    def _loss_again(self) -> str:
        """Insert the function that computes the loss again; return its name, or None."""
        body, apart = self.loss_body, self.loss_block is not self.block
        parameters = [one.before_loop if apart else one.expression for one in self.loop.parameters]
        found = loss_function(
            self.names.loss_again,
            self.tree,
            body,
            self.loss_place,
            self._loss(),
            parameters,
            loop_targets(self.loss_block),
        )
        if found is None:
            return "None"
        documented = isinstance(self.loss_block, ast.FunctionDef) and ast.get_docstring(self.loss_block)
        place = max(found.before, 1 if documented and len(body) > 1 else 0)
        self._put(body[place].lineno, found.lines)
        self._copies_in_loss = found.copies
        return self.names.loss_again

    @property
    def _copies(self) -> bool:
        return any(self.place.kinds.get(f"parameter {number}") == "list" for number in range(len(self.loop.parameters)))

    def _loss(self) -> str:
        single = self.loss_place.kinds.get("loss") == "single"
        return f"{bracketed(self.loop.loss)}.item()" if single else self.loop.loss

    def _gradient(self, number: int) -> str:
        one = self.loop.parameters[number]
        is_array = self.place.kinds.get(f"gradient {number}") not in ("list", "number")
        return scaled(one.gradient if is_array else f"np.array({one.gradient})", one.scale)

    def _steps(self, name: str, text: str) -> str:
        if self.loss_place.kinds[f"observed {name}"] == "dict":
            return f"[{text}[step] for step in sorted({text})]"
        return text

    def _pairs(self, *, before: bool = False) -> list[tuple[str, str]]:
        pairs = []
        for number, one in enumerate(self.loop.parameters):
            text = one.before_loop if before else one.expression
            copied = self.place.kinds.get(f"parameter {number}") == "list"
            pairs.append((one.name, f"np.array({text})" if copied else text))
        return pairs

    def _put(self, line: int, new: list[str]) -> None:
        indentation = self.lines.indentation(line)
        self.lines.put_before(line, [indentation + one for one in new])

    def _put_after(self, body: list[ast.stmt], count: int, new: list[str]) -> None:
        """Insert lines after a number of statements of a body."""
        indentation = self.lines.indentation(body[0].lineno)
        if count < len(body) and body[count].lineno == body[count - 1].end_lineno:
            raise DataError(
                f"{self.loop.source.location(body[count].lineno)}: expected one statement a line",
                hint="write the statements of this line on lines of their own",
            )
        self.lines.put_after(body[count - 1].end_lineno or 0, [indentation + one for one in new])

    # The run ---------------------------------------------------------------------------------------------------------

    def _called_again(self) -> bool:
        """Whether the loop's function has no loop around it and is called in another loop, once an epoch."""
        return self.function is not None and not self.outer and is_called_in_loop(self.tree, self.function.name)

    def _made(self, before: str, after: str) -> list[str]:
        rate = "" if self.loop.learning_rate is None else f", learning_rate={self.loop.learning_rate:.6g}"
        options = '"preset": "guards"'
        if self.loop.ignored:
            codes = ", ".join(f'"{code}"' for code in self.loop.ignored)
            options += f', "plugins": {{"alarm_selection": {{"ignore": [{codes}]}}}}'
        end = f", plugins=load_plugins({{{options}}}){rate}){after}"
        return call_with_arrays(f"{before}Run(", self._pairs(before=True), end)

    def _enter_run(self) -> None:
        """Write ``with Run(...) as run:`` around the outermost loop, with an epoch for each enclosing pass."""
        run, epochs = self.names.run, self.names.epochs
        outermost = self.outer[-1] if self.outer else self.node
        first, last = outermost.lineno, outermost.end_lineno or outermost.lineno
        start = self.lines.indentation(first)
        apart = self.block is not self.node
        if apart and self.function is not None:
            self._declare(f"global {run}")
        lines = [start + one for one in self._made("with ", f" as {run}:")]
        if self.outer:
            parent = self.outer[0]
            lines.append(f"{start}    {epochs} = {run}.epochs(None)")
            self._next_epoch(parent)
            self.lines.indent(first, last)
        else:
            lines.append(f"{start}    for _ in {run}.epochs(1):")
            self.lines.indent(first, last, 2)
        self.lines.put_before(first, lines, outside=True)
        self.lines.put_after(last, [f"{start}print({run}.diagnosis)"], outside=True)
        self._import(f"{run} = None" if apart else "")

    def _next_epoch(self, parent: ast.For | ast.While) -> None:
        inner = self.lines.indentation(parent.body[0].lineno)
        lines = [f"{inner}if next({self.names.epochs}, None) is None:  # the run was stopped", f"{inner}    break"]
        self.lines.put_before(parent.body[0].lineno, lines)

    def _keep_one_run(self) -> None:
        """One run for all calls of the loop's function: it is entered in the first."""
        run, epochs, runs = self.names.run, self.names.epochs, self.names.open_runs
        start = self.lines.indentation(self.node.lineno)
        lines = [f"{start}if {run} is None:"]
        lines += [f"{start}    {one}" for one in self._made(f"{run} = {runs}.enter_context(", ")")]
        lines += [f"{start}    {epochs} = {run}.epochs(None)", f"{start}next({epochs}, None)"]
        self.lines.put_before(self.node.lineno, lines)
        self._declare(f"global {run}, {epochs}")
        self._import(f"{run} = {epochs} = None\n{runs} = ExitStack()")
        end = len(self.loop.source.text.splitlines())
        self.lines.put_after(end, [f"if {run} is not None:", f"    {runs}.close()", f"    print({run}.diagnosis)"])

    def _declare(self, declaration: str) -> None:
        assert self.function is not None
        body = self.function.body
        documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and len(body) > 1
        line = body[1 if documented else 0].lineno
        self.lines.put_before(line, [self.lines.indentation(line) + declaration], outside=True)

    def _import(self, more: str) -> None:
        first = next((one for one in self.tree.body if not stays_first(one)), self.tree.body[0])
        decorators = [one.lineno for one in getattr(first, "decorator_list", [])]
        standard = ["import itertools"] * isinstance(self.node, ast.While)
        standard += ["from contextlib import ExitStack"] * ("ExitStack" in more)
        standard += [f"from copy import copy as {COPIED}"] * self._copies_in_loss
        lines = import_lines(standard, numpy=self._copies and not imports_numpy(self.tree))
        if self.loss_block is not self.block:
            more += f"\n{self.names.batch_loss} = [None, None]"
        if self.loop.observed_in:
            more += f"\n{self.names.batch_values} = {{}}"
        if more:
            lines += ["", *more.strip().splitlines()]
        self.lines.put_before(min([first.lineno, *decorators]), [*lines, ""], outside=True)

    def _wrap_iterable(self, node: ast.For, more: str) -> None:
        lines = self.loop.source.text.splitlines()
        start = column_of(lines[node.iter.lineno - 1], node.iter.col_offset)
        last = node.iter.end_lineno or node.iter.lineno
        end = column_of(lines[last - 1], node.iter.end_col_offset or 0)
        self.lines.replace(node.iter.lineno, start, start, f"{self.names.run}.batches(")
        self.lines.replace(last, end, end, f"{more})")

    def _wrap_loop(self) -> None:
        node, run = self.node, self.names.run
        if isinstance(node, ast.For):
            self._wrap_iterable(node, "")
            return
        condition = ast.get_source_segment(self.loop.source.text, node.test) or ""
        header = self.loop.source.text.splitlines()[node.lineno - 1]
        if node.test.end_lineno != node.lineno:
            raise DataError(f"{self.loop.source.location(node.lineno)}: expected the condition on one line")
        start = len(header) - len(header.lstrip())
        end = column_of(header, node.test.end_col_offset or 0)
        self.lines.replace(node.lineno, start, end, f"for _ in {run}.batches(itertools.count())")
        if not (isinstance(node.test, ast.Constant) and node.test.value):
            inner = self.lines.indentation(node.body[0].lineno)
            self.lines.put_after(node.lineno, [f"{inner}if not ({condition}):", f"{inner}    break"])
