"""Checks a stranger's script without the doctor: gradients by finite differences, and the loss of each batch.

    python tests/benchmarks/doctor_probe.py                    # all healthy scripts
    python tests/benchmarks/doctor_probe.py --faults           # and all patched ones: does the patch do harm?
    python tests/benchmarks/doctor_probe.py willow --faults

A statement is put into the script where loss and gradients of a batch are known. It evaluates the loss of the batch
again, with entries of the parameters changed by a little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import numpy as np
from doctor_cases import ScriptFault, StrangerScript, code_of, stranger_scripts

ENTRIES = 4
"""Entries of each array that are changed: those with the largest gradient, and as many of all sizes."""

STEP = 1e-5

TOLERANCE = 1e-3
"""Largest relative error of a right gradient."""

HARM = 0.05
"""Least share of the loss that the healthy script learned and a patched one did not, if the patch does harm."""

PROBE = """
import os as _os, sys as _sys, json as _json, numpy as _np, math as _math

class _Probe:
    def __init__(self):
        self.losses, self.errors = [], {{}}

    def __call__(self, loss, pairs):
        self.losses.append(float(loss()))
        if len(self.losses) in {checked}:
            for name, (param, grad) in pairs().items():
                self.check(str(name), loss, param, grad)
        if len(self.losses) == {batches}:
            self.end()

    def check(self, name, loss, param, grad):
        analytic, numeric = [], []
        for place in self.places(grad):
            owner, last, slope = param, place, grad
            if isinstance(param, list):
                for index in place[:-1]:
                    owner, slope = owner[index], slope[index]
                last = place[-1]
            else:
                owner, last = param, place
            value = owner[last]
            step = {step} * max(1.0, abs(float(value)))
            owner[last] = value + step
            above = float(loss())
            owner[last] = value - step
            below = float(loss())
            owner[last] = value
            analytic.append(float(slope[last]))
            numeric.append(max(-{clipped}, min({clipped}, (above - below) / (2 * step))))
        difference = _math.dist(analytic, numeric)
        largest = max(_math.hypot(*numeric), _math.hypot(*analytic), 1e-7)
        self.errors[name] = max(self.errors.get(name, 0.0), difference / largest)

    def places(self, grad):
        sizes = _np.abs(_np.array(grad, float))
        order = _np.argsort(sizes, axis=None)[::-1]
        chosen = [*order[:{entries}], *order[::max(1, len(order) // {entries})]]
        return [tuple(int(i) for i in _np.unravel_index(one, sizes.shape)) for one in chosen]

    def end(self):
        with open({result!r}, "w") as file:
            _json.dump(dict(losses=self.losses, errors=self.errors), file)
        _sys.stdout.flush()
        _os._exit(0)

import builtins as _builtins
if not hasattr(_builtins, "_probe"):
    _builtins._probe = _Probe()
"""


@attrs.frozen
class Probed:
    """What a probe saw: the loss of each batch, and the error of each array's gradient."""

    losses: tuple[float, ...]
    errors: dict[str, float]

    @property
    def first_loss(self) -> float:
        return float(np.mean(self.losses[: max(1, len(self.losses) // 20)]))

    @property
    def last_loss(self) -> float:
        return float(np.mean(self.losses[-max(1, len(self.losses) // 5) :]))

    @property
    def wrong(self) -> dict[str, float]:
        return {name: error for name, error in self.errors.items() if not error <= TOLERANCE}

    def harmed(self, healthy: Probed) -> float:
        """The share of what the healthy script learned that this one did not. 1 if the loss is not finite."""
        if not np.isfinite(self.last_loss):
            return 1.0
        return (self.last_loss - healthy.last_loss) / (healthy.first_loss - healthy.last_loss)


def probed(script: StrangerScript, fault: ScriptFault | None = None, batches: int | None = None) -> Probed:
    """Runs a copy of the script, with a probe in it, for a number of batches."""
    place = script.check
    if place is None:
        raise ValueError(f"{script.name} has no table [check]")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        main = script.copy_to(folder, fault)
        file = folder / (place.file or script.main)
        result = folder / "probe-result.json"
        code = code_of(file)
        statement = f"_probe(lambda: {place.loss}, lambda: {place.pairs})"
        code = _with_line(code, place.after or place.before, statement, behind=bool(place.after))
        if place.setup is not None:
            code = _with_line(code, place.setup.before, place.setup.code, behind=False)
        setup = PROBE.format(
            checked=(1, 2, 5),
            batches=batches or place.batches,
            step=STEP,
            entries=ENTRIES,
            clipped=min(place.clipped, 1e300),
            result=str(result),
        )
        lines = [line for line in code.splitlines() if not line.startswith("from __future__")]
        runnable = file.with_suffix(".py")
        runnable.write_text(setup + "\n".join(lines) + "\n", encoding="utf-8")
        # A script that ends before the number of batches is reached has its result written at its end.
        run = "runpy.run_path(sys.argv[0], run_name='__main__')"
        driver = f"import runpy, sys; sys.argv = sys.argv[1:]; {run}; _probe.end()"
        command = [sys.executable, "-c", driver, str(main.with_suffix(".py")), *script.arguments]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(main.parent)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if not result.exists():
            raise RuntimeError(f"{script.name} did not reach the probe\n{done.stderr[-2000:]}")
        table = json.loads(result.read_text())
    return Probed(tuple(table["losses"]), table["errors"])


def _with_line(code: str, text: str, line: str, *, behind: bool) -> str:
    """The code with a line behind or before a text of whole lines, and as far to the right as its first line."""
    text = text.strip("\n")
    before, found, after = ("\n" + code).partition("\n" + text + "\n")
    if not found or "\n" + text + "\n" in "\n" + after:
        raise ValueError(f"expected the lines {text!r} once")
    line = text[: len(text) - len(text.lstrip())] + line
    return "\n".join([before, text, line, after] if behind else [before, line, text, after])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="scripts (default: all)")
    parser.add_argument("--faults", action="store_true", help="patched scripts too")
    options = parser.parse_args()
    for script in stranger_scripts().values():
        if (options.names and script.name not in options.names) or script.check is None:
            continue
        healthy = probed(script)
        wrong = {name: f"{error:.2g}" for name, error in healthy.wrong.items()}
        learned = f"{healthy.first_loss:.4g} -> {healthy.last_loss:.4g} in {len(healthy.losses)} batches"
        print(f"{script.name} ({script.half}): {learned}; {f'WRONG {wrong}' if wrong else 'gradients right'}")
        for fault in script.faults if options.faults else ():
            try:
                seen = probed(script, fault)
            except (RuntimeError, ValueError) as error:
                print(f"  {fault.name}: NOT RUN {error}")
                continue
            harm = seen.harmed(healthy)
            names = ", ".join(seen.wrong) or "none"
            verdict = "harmful" if harm > HARM else "by definition" if fault.always else "HARMLESS"
            print(f"  {'/'.join(fault.codes)} {fault.name}: harm {harm:.2f} {verdict}; wrong gradients: {names}")


if __name__ == "__main__":
    main()
