"""Fills the outputs of the page ``tutorial/first-run.md`` with those of real runs.

``python docs/_ext/first_run.py`` runs the two commands of the page, for about a minute, and writes their output into
the page. Each generated block stands between two comments that name it.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parents[1] / "tutorial" / "first-run.md"
TRAIN = ["train"]
DIVERGE = ["train", "--epochs", "2", "--learning-rate", "5", "-p", "no:one_cycle"]
MOST_COLUMNS = 110
"""Width at which long lines are broken, in characters."""


def run_command(arguments: list[str]) -> str:
    """The standard output of a command, run in an empty directory."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "rnncallbacks", *arguments]
        done = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False)
    return done.stdout


def blocks_of_training(output: str) -> dict[str, str]:
    """The parts of the output of a run that learns: the head, the epochs, the checks and the comparison."""
    lines = output.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    last_epoch = lines.index(epochs[-1])
    comparison = lines.index("held-out loss, nats per character")
    sample = next((place for place, line in enumerate(lines) if line.startswith("sample, ")), len(lines) + 1)
    shown_epochs = epochs if len(epochs) < 5 else [*epochs[:2], "...", epochs[-1]]
    return {
        "head": _folded(lines[: lines.index("")]),
        "epochs": "\n".join(shown_epochs),
        "checks": _folded(lines[last_epoch + 1 : comparison - 1]),
        "comparison": "\n".join(lines[comparison : sample - 1]),
    }


def blocks_of_divergence(output: str) -> dict[str, str]:
    """The alarms in the output of a run that diverges."""
    lines = output.splitlines()
    begin = next(place for place, line in enumerate(lines) if line == "fired")
    end = next(place for place, line in enumerate(lines) if line.startswith("checks passed: "))
    return {"alarm": _folded(lines[begin:end])}


def fill(page: str, blocks: dict[str, str]) -> str:
    """The page with each block replaced, and with the number of characters in its prose that of the head."""
    for name, text in blocks.items():
        page, count = re.subn(
            rf"(<!-- output: {name} -->\n```text\n).*?(\n```)",
            lambda match, text=text: match[1] + text + match[2],
            page,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"{PAGE}: expected one block '<!-- output: {name} -->', found {count}")
    if "head" in blocks:
        characters = int(re.search(r"(\d+) different", blocks["head"])[1])
        page = re.sub(r"each of \d+ characters", f"each of {characters} characters", page)
        page = re.sub(r"ln \d+, about [\d.]+\d", f"ln {characters}, about {math.log(characters):.2f}", page)
    return page


def blocks_in(page: str) -> dict[str, str]:
    """The generated blocks of the page, by name."""
    return dict(re.findall(r"<!-- output: (\w+) -->\n```text\n(.*?)\n```", page, flags=re.DOTALL))


def _folded(lines: list[str]) -> str:
    """The lines, with long ones broken at spaces and continued below their text."""
    folded = []
    for line in lines:
        indent = re.match(r" *(\w+( \w+)? {2,})?", line)[0]
        rest = line
        while len(rest) > MOST_COLUMNS:
            end = rest.rindex(" ", len(indent), MOST_COLUMNS)
            folded.append(rest[:end])
            rest = " " * len(indent) + rest[end + 1 :]
        folded.append(rest)
    return "\n".join(folded)


if __name__ == "__main__":
    blocks = blocks_of_training(run_command(TRAIN)) | blocks_of_divergence(run_command(DIVERGE))
    PAGE.write_text(fill(PAGE.read_text("utf-8"), blocks), "utf-8")
