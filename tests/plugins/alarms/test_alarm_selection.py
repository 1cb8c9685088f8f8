"""Alarm selection: codes are selected, ignored and given a severity, as in the configuration of a linter."""

import pytest

from rnncallbacks.config.configuration import load_plugins
from rnncallbacks.errors import ConfigurationError, OptionError
from rnncallbacks.plugins import AlarmSelection, DivergenceAlarm, LossAveraging, PlateauAlarm

NAN = float("nan")


def test_an_ignored_code_is_not_listed_and_stops_nothing(play):
    losses = [[1.0, NAN, 1.0]]
    assert play([DivergenceAlarm()], losses).stop_reason is not None
    run = play([AlarmSelection(ignore=["RNN403"]), DivergenceAlarm()], losses)
    assert (run.alarms, run.stop_reason) == ([], None)


def test_its_place_in_the_list_does_not_matter(play):
    run = play([DivergenceAlarm(), AlarmSelection(select=["RNN6"])], [[NAN]])
    assert run.alarms == []


def test_severity_is_set_by_prefix(play):
    plugins = load_plugins(
        {
            "plugins": {
                "alarm_selection": {"severity": {"RNN6": "info"}},
                "loss_averaging": {},
                "plateau_alarm": {"patience": 1},
            }
        }
    )
    run = play(plugins, [[1.0], [1.0], [1.0]])
    assert [(alarm.code, alarm.severity) for alarm in run.alarms] == [("RNN601", "info")]
    louder = play([LossAveraging(), PlateauAlarm(patience=1)], [[1.0], [1.0]])
    assert louder.alarms[0].severity == "warning"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore": "RNN601"}, "ignore: expected tuple"),
        ({"ignore": [601]}, "ignore: expected tuple"),
        ({"select": ["RNN61"]}, "no alarm code begins with 'RNN61'"),
        ({"severity": {"RNN601": "loud"}}, "severity: expected dict"),
        ({"severity": ["RNN601"]}, "severity: expected dict"),
    ],
)
def test_a_configuration_with_a_typo_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        load_plugins({"plugins": {"alarm_selection": options}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore": "RNN601"}, "AlarmSelection: ignore: expected a list of strings, got 'RNN601'"),
        ({"select": [601]}, r"AlarmSelection: select: expected a list of strings, got \(601,\)"),
        ({"severity": "info"}, "AlarmSelection: severity: expected a mapping of codes to severities, got 'info'"),
    ],
)
def test_a_script_with_a_typo_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        AlarmSelection(**options)
