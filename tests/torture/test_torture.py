"""A slice of each attack, the same in each run of the tests."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.torture.__main__ import main; sys.exit(main())"


def test_the_library_holds(run_python, tmp_path):
    out = tmp_path / "torture.jsonl"
    done = run_python(CODE, "slice", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = {line.partition('"kind": "')[2].partition('"')[0] for line in out.read_text().splitlines()}
    assert kinds == {"kills", "flips", "edits", "configurations", "plugins"}
