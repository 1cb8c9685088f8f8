"""A slice of each attack, the same in each run of the tests."""

from pathlib import Path

from .page import page, read_lines

ROOT = Path(__file__).parents[2]
CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.torture.__main__ import main; sys.exit(main())"


def test_the_library_holds(run_python, tmp_path):
    out = tmp_path / "torture.jsonl"
    done = run_python(CODE, "slice", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = read_lines(out)
    assert {line["kind"] for line in lines} == {"kills", "flips", "edits", "configurations", "plugins"}
    assert "The library held in every trial." in page(lines, [], "abc")


def test_the_page_counts_outcomes_and_names_what_did_not_hold():
    kill = {"kind": "kills", "what": "stream, rate usual, checkpoint every_steps=2; killed at 0.5", "seed": 0}
    lines = [
        {**kill, "number": 0, "outcome": "held", "counts": {"kills": 3, "runs": 1}},
        {**kill, "number": 1, "outcome": "differs", "counts": {"kills": 1, "runs": 1}},
        {"kind": "flips", "what": "a bit", "seed": 0, "number": 0, "outcome": "held", "counts": {}},
    ]
    cost = {"size": "small", "parameters": 1000, "plugins": "none", "fsync": True, "pairs": 3, "ratio": 1.25}
    cost |= {"checkpoint": 0.002, "plain": 0.001, "checkpoint_bytes": 10**6, "plain_bytes": 10**5}
    text = page(lines, [cost], "abc")
    assert "| kills | 2 runs, 4 kills | 1 | 0 | 0 | 1 |" in text
    assert "| stream | `every_steps=2` | 2 | 4 | 1 |" in text
    assert "- kills 1 (seed 0), differs: `stream" in text
    assert "| 1,000 | none | yes | 2.0 ms | 1.0 ms | 1.2 | 1.0 MB | 0.1 MB | 3 |" in text
