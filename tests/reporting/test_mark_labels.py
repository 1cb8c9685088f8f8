"""Where the labels of marks find room above a chart."""

from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.reporting.mark_labels import CHARACTER_WIDTH, LABEL_ROWS, Mark, place_labels

marks = st.lists(
    st.builds(
        Mark,
        st.integers(0, 200),
        st.sampled_from(["RNN101", "RNN602", "ACME-0001", "X"]),
        st.just("words"),
        st.sampled_from(["error", "warning", "info"]),
    ),
    max_size=40,
)


@given(marks, st.floats(200.0, 1000.0))
def test_labels_neither_overlap_nor_leave_the_chart(found, width):
    labels = place_labels(found, (-4.0, 204.0), width)
    assert [label.position for label in labels] == sorted({mark.position for mark in found})
    spans: list[list[tuple[float, float]]] = [[] for _ in range(LABEL_ROWS)]
    for label in labels:
        if label.row is None:
            continue
        half = CHARACTER_WIDTH * len(label.text) / 2
        begin, end = label.center * width - half, label.center * width + half
        assert begin >= -1e-6
        assert end <= width + 1e-6
        assert all(end <= other_begin or begin >= other_end for other_begin, other_end in spans[label.row])
        spans[label.row].append((begin, end))


def test_marks_of_one_epoch_share_a_label_which_names_the_worst():
    found = [
        Mark(3, "RNN605", "a spike", "info"),
        Mark(3, "RNN602", "divergence", "error"),
        Mark(3, "RNN501", "too high", "error"),
    ]
    (label,) = place_labels(found, (0.0, 10.0), 500.0)
    assert (label.text, label.severity, label.words) == ("RNN602 +2", "error", "a spike\ndivergence\ntoo high")
