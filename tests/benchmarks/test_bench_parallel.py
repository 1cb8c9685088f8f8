"""The model of the cost of several ranks: the page has its tables, and it predicts what it was fitted to."""

import json
from pathlib import Path

import bench_parallel
import pytest

COSTS = json.loads(Path(__file__).with_name("parallel_costs.json").read_text())
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "parallel.md"


def test_the_page_has_the_tables_of_the_model() -> None:
    page = PAGE.read_text("utf-8").splitlines()
    assert [line for line in bench_parallel.model_tables(COSTS) if line not in page] == []


def test_the_model_predicts_what_it_was_fitted_to() -> None:
    model = bench_parallel.CostModel(COSTS)
    errors = model.errors(bench_parallel.MEASURED_SIZES)
    assert errors == pytest.approx([0.0] * len(errors), abs=0.2)


def test_the_model_predicts_a_size_to_which_it_was_not_fitted() -> None:
    errors = bench_parallel.CostModel(COSTS).errors([bench_parallel.CHECKED_SIZE])
    assert errors == pytest.approx([0.0] * len(errors), abs=0.15)


def test_more_ranks_are_faster_until_they_do_not_pay() -> None:
    model = bench_parallel.CostModel(COSTS)
    last = model.last_that_pays("lstm", 512, over_network=True)
    gain = model.seconds("lstm", 512, last, over_network=True) / model.seconds("lstm", 512, 2 * last, over_network=True)
    assert last > 1
    assert gain < bench_parallel.PAYS
