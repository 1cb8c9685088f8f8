import json

from rnncallbacks.alarms.alarm import make_alarm
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.diagnosis_content import DiagnosisContent, Repair
from rnncallbacks.config.option_types import structured


def test_a_diagnosis_comes_back_from_json_with_everything_that_it_says():
    diagnosis, again = Diagnosis(), Diagnosis()
    settings = {"cause": None, "remedy": None, "severity": None, "action": "warn", "epoch": 1, "step": 2}
    diagnosis.add(make_alarm("RNN501", "seen", {"updates": 9, "ratio": 0.5, "array": "Whh"}, **settings))
    diagnosis.report_repair(Repair(code="RNN501", what="rate x 0.5", epoch=1, step=2))
    diagnosis.check("RNN201", "4 of 4 batches")
    diagnosis.report_cannot_tell("RNN406", "the norms do not show it")
    diagnosis.cannot_check("RNN404", "pass closure=")
    plain = json.loads(json.dumps(diagnosis.content().to_dict()))
    again.restore(structured(plain, DiagnosisContent))
    assert again.content() == diagnosis.content()
    assert repr(again.to_dict()) == repr(diagnosis.to_dict())
    assert str(again) == str(diagnosis)
