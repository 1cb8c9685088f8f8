import json

import bench_speed
import numpy as np
import pytest

CASE = {"part": "memory", "cell": "gru", "size": [1, 2, 3, 4]}


def test_a_case_is_measured_once_and_found_again(tmp_path):
    path = tmp_path / "speed.json"
    measures = iter([{1: 0.5}])
    plan = [(CASE, lambda: next(measures))]
    first = bench_speed.run_all(plan, path)
    assert first["cases"] == [CASE | {"result": {"1": 0.5}}]
    assert bench_speed.run_all(plan, path) == first == json.loads(path.read_text())


def test_only_cases_of_the_plan_are_reported(tmp_path):
    path = tmp_path / "speed.json"
    other = CASE | {"cell": "lstm"}
    bench_speed.run_all([(CASE, lambda: 1), (other, lambda: 2)], path)
    assert bench_speed.run_all([(other, lambda: 3)], path)["cases"] == [other | {"result": 2}]


def test_results_of_another_machine_are_refused(tmp_path):
    path = tmp_path / "speed.json"
    path.write_text(json.dumps({"machine": {"processor": "another"}, "cases": []}))
    with pytest.raises(SystemExit, match="another machine"):
        bench_speed.run_all([(CASE, lambda: 1)], path)


def test_the_machine_is_described():
    found = bench_speed.machine()
    assert "cores" in found["processor"]
    assert found["NumPy"].startswith(np.__version__)
