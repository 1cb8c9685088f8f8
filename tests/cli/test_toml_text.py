"""TOML that is written reads back the same."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.cli.toml_text import toml_table

SCALARS = st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False)


@given(
    st.dictionaries(
        st.text(min_size=1), SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=2)
    )
)
def test_what_is_written_as_toml_reads_back_the_same(values):
    assert tomllib.loads(toml_table("table", values))["table"] == values
