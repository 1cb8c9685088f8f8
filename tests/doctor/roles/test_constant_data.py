"""Data that is the same in each iteration, and a data set from which an iteration takes a part."""

import attrs
import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.constant_data import constant_sources, depends_on_all_rows

LOSS = ("end", "__main__", "loss")


def key(name):
    return "end", "__main__", name


@attrs.frozen
class Replay:
    """A frozen iteration whose loss is a function of the rows of one array."""

    rows: slice

    def replay(self, request):
        (value,) = request.pushes.values()
        return IterationRecord(2, 1, end={LOSS: float(np.sum(value[self.rows]))})


@pytest.mark.parametrize(("rows", "expected"), [(slice(None), True), (slice(8, 16), False)])
def test_a_batch_is_a_part_of_the_data_and_one_sequence_is_all_of_it(rows, expected):
    array = np.random.default_rng(0).standard_normal((40, 3))
    record = IterationRecord(2, 1, start={key("series"): array}, end={LOSS: float(np.sum(array[rows]))})
    assert depends_on_all_rows(key("series"), array, record, Replay(rows), frozenset([LOSS])) is expected


def test_sources_are_constant_those_with_a_name_of_data_first_and_no_items_of_a_list():
    start = {key("series"): np.arange(3.0), key("table"): np.arange(9.0), key("table[0]"): np.arange(4.0)}
    records = [IterationRecord(n, 1, start=start | {key("batch"): np.full(5, float(n))}) for n in (1, 2)]
    for record in records:
        record.start_identities = {name: place for place, name in enumerate(record.start)}
    assert constant_sources(records, set()) == [key("series"), key("table")]
