"""Options of plugins for one run: as an argument, on the command line and in the environment."""

import pytest

from rnncallbacks import load_plugins
from rnncallbacks.config.overrides import parse_override
from rnncallbacks.errors import ConfigurationError

SOURCE = {
    "preset": "recommended",
    "plugins": {
        "gradient_clipping": {"max_norm": 1.0},
        "alarm_selection": {"ignore": ["RNN6"], "severity": {"RNN301": "error"}},
        "first": {"plugin": "warmup", "steps": 5},
        "second": {"plugin": "warmup", "steps": 6},
    },
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("RNNCALLBACKS_PLUGINS", "RNNCALLBACKS_DISABLE", "RNNCALLBACKS_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)


def problems(**arguments):
    with pytest.raises(ConfigurationError) as caught:
        load_plugins(SOURCE, **arguments)
    return caught.value.problems


def test_options_of_the_file_of_a_preset_and_of_an_added_plugin_are_set():
    override = {"gradient_clipping.max_norm": 0.5, "loss_averaging.weight": "token", "time_limit.minutes": 3}
    plugins = load_plugins(SOURCE, enable=["time_limit"], override=override)
    assert plugins["gradient_clipping"].max_norm == 0.5
    assert plugins["loss_averaging"].weight == "token"
    assert plugins["time_limit"].minutes == 3
    assert SOURCE["plugins"]["gradient_clipping"] == {"max_norm": 1.0}


def test_one_name_is_one_table_and_the_name_of_a_plugin_all_of_its_tables():
    plugins = load_plugins(SOURCE, override={"warmup.steps": 9, "second.steps": 7})
    assert (plugins["first"].steps, plugins["second"].steps) == (9, 7)


def test_one_key_of_a_table_is_set():
    override = {"alarm_selection.severity.RNN302": "info"}
    assert dict(load_plugins(SOURCE, override=override)["alarm_selection"].severity) == {
        "RNN301": "error",
        "RNN302": "info",
    }
    assert SOURCE["plugins"]["alarm_selection"]["severity"] == {"RNN301": "error"}


def test_arguments_override_the_environment(monkeypatch):
    monkeypatch.setenv("RNNCALLBACKS_OVERRIDE", "gradient_clipping.max_norm=2; gradient_clipping.mode = value;")
    plugins = load_plugins(SOURCE, override={"gradient_clipping.max_norm": 0.5})
    assert (plugins["gradient_clipping"].max_norm, plugins["gradient_clipping"].mode) == (0.5, "value")


def test_misspelled_names_and_options_get_the_nearest_match(monkeypatch):
    monkeypatch.setenv("RNNCALLBACKS_OVERRIDE", "gradient_cliping.max_norm=2; loss_averaging.wieght=3; nothing")
    override = {"gradient_clipping.max_nrom": 0.5, "warmup": 3, "checkpoint.every": 3, "first.steps": "many", 7: 3}
    form = "expected NAME.OPTION=VALUE, such as gradient_clipping.max_norm=0.5, got"
    found = problems(override=override)
    assert found[:5] == [
        f"RNNCALLBACKS_OVERRIDE: {form} 'nothing'",
        "RNNCALLBACKS_OVERRIDE: gradient_cliping.max_norm: no plugin 'gradient_cliping' is in this configuration; "
        "did you mean 'gradient_clipping'?",
        f"override: {form} 'warmup'",
        "override: checkpoint.every: no plugin 'checkpoint' is in this configuration; enable it, or add a table for it",
        f"override: {form} 7",
    ]
    assert sorted(found[5:]) == [
        "RNNCALLBACKS_OVERRIDE: loss_averaging.wieght: there is no such option; did you mean 'weight'?",
        "override: first.steps: expected int, got 'many' (str)",
        "override: gradient_clipping.max_nrom: there is no such option; did you mean 'max_norm'?",
    ]


def test_overrides_are_a_mapping():
    with pytest.raises(ConfigurationError, match=r"override: expected a mapping .*, got \['warmup.steps=3'\]"):
        load_plugins(SOURCE, override=["warmup.steps=3"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=1", 1),
        ("a.b = 1e-3", 1e-3),
        ("a.b=true", True),
        ('a.b="x"', "x"),
        ("a.b=max", "max"),
        ("a.b=", ""),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b={c = 1}", {"c": 1}),
        ("a.b=/data/x=1", "/data/x=1"),
        ("a.b=[[[", "[[["),
    ],
)
def test_values_are_toml_or_text(text, value):
    assert parse_override(text) == ("a.b", value)
