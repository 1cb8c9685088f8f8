"""Which ranks have ended before MPI started."""

from rnncallbacks.parallel.absent_ranks import AbsentRanks


def test_a_rank_that_ends_because_of_another_is_not_absent():
    found = AbsentRanks(expected=3)
    for present in ([1, 2], [1, 2], [1]):
        found.note(present)
    assert (found.checks, found.seen) == (3, {1, 2})


def test_checks_are_counted_from_the_last_one_with_all_ranks():
    found = AbsentRanks(expected=3)
    for present in ([1], [0, 1, 2], [0, 1], None, [0, 2]):
        found.note(present)
    assert (found.checks, found.seen) == (1, {0, 2})
