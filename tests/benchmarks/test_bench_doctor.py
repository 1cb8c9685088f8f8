import json
from pathlib import Path

import pytest
from bench_doctor import contents, measure
from doctor_cases import FOLDER, code_of, stranger_scripts
from doctor_probe import probed
from doctor_report import DoctorMeasurement, DoctorReport

pytestmark = pytest.mark.usefixtures("forked_modules")

SCRIPTS = stranger_scripts()


def patched(script, fault, folder):
    main = script.copy_to(folder, fault)
    return code_of(folder / (fault.file or script.main)), main


class TestScripts:
    def test_there_are_enough_in_both_halves_and_of_each_cell(self):
        assert len(SCRIPTS) >= 40
        assert sum(len(script.faults) for script in SCRIPTS.values()) >= 100
        for half in ("tune", "report"):
            some = [script for script in SCRIPTS.values() if script.half == half]
            assert len(some) >= 0.4 * len(SCRIPTS)
            assert {script.cell for script in some} == {"vanilla", "lstm", "gru"}

    def test_each_file_of_the_folder_belongs_to_a_script(self):
        known = {Path(script.main).parts[0] for script in SCRIPTS.values()} | {"river.txt"}
        known |= {name for script in SCRIPTS.values() for name in script.also}
        known |= {f"{name}.toml" for name in SCRIPTS}
        assert {path.name for path in FOLDER.iterdir() if path.name != "__pycache__"} == known

    @pytest.mark.parametrize("name", [name for name, script in SCRIPTS.items() if not script.truth.crash])
    def test_scripts_and_patched_ones_are_python_and_have_the_lines_of_their_table(self, name, tmp_path):
        script = SCRIPTS[name]
        loop_file = FOLDER / (script.truth.file or script.main)
        assert script.truth.loop in code_of(loop_file).splitlines()
        for fault in script.faults:
            code, _ = patched(script, fault, tmp_path / fault.name)
            compile(code, name, "exec")
            assert script.patched_line(fault) in code.splitlines(), fault.name

    def test_names_of_faults_are_unique_in_a_script(self):
        for script in SCRIPTS.values():
            names = [fault.name for fault in script.faults]
            assert len(names) == len(set(names))


class TestGradients:
    """All scripts: python tests/benchmarks/doctor_probe.py."""

    @pytest.mark.parametrize("name", ["twofloors", "first_digit", "nightjar", "kestrel"])
    def test_a_healthy_script_has_the_gradients_of_its_loss(self, name):
        seen = probed(SCRIPTS[name], batches=5)
        assert len(seen.errors) >= 4
        assert not seen.wrong

    def test_the_check_finds_a_wrong_gradient(self):
        script = SCRIPTS["nightjar"]
        assert set(probed(script, script.fault("wrong_half_of_the_gradient"), batches=5).wrong) == {"W", "b"}


def document(**changes):
    places = [(i, k) for i in (0, 1) for k in range(3)] + [(2, 0), (2, 1)]
    parameters = {f"layers[{i}].weights[{k}]": {"gradient": f"layers[{i}].grads[{k}]"} for i, k in places}
    roles = {"loss": "current", "parameters": parameters, "carried_state": [], "inputs": "xs", "targets": "ys"}
    loop = {"file": "twofloors.py", "line": 79, "source": "for i in range(800):"}
    return {"loop": loop, "roles": roles | changes.pop("roles", {}), "diagnosis": {"alarms": []}} | changes


def measured(fault="", alarms=None, **changes):
    script = SCRIPTS["twofloors"]
    told = document(**changes)
    if alarms is not None:
        told["diagnosis"] = {"alarms": alarms}
    return DoctorMeasurement.of(script, script.fault(fault), {"document": told, "seconds": 2.0})


def alarm(code, severity="error", explained_by=None, source=""):
    look_at = [{"file": "twofloors.py", "line": 42, "source": source}]
    return {"code": code, "severity": severity, "explained_by": explained_by, "look_at": look_at}


class TestMeasurement:
    def test_a_healthy_script_of_which_all_is_right(self):
        assert measured().wrong() == []

    def test_a_missing_array_or_a_gradient_of_another_name_is_wrong(self):
        one = measured(roles={"parameters": {"layers[0].weights[0]": {"gradient": "layers[0].xs"}}})
        assert one.parameters_right is False
        assert one.gradients_right is False

    def test_an_optimizer_array_among_the_parameters_is_wrong(self):
        parameters = {**document()["roles"]["parameters"], "velocity[0]": {"gradient": None}}
        assert measured(roles={"parameters": parameters}).parameters_right is False

    def test_a_state_that_the_script_does_not_carry_is_wrong(self):
        assert measured(roles={"carried_state": ["hprev"]}).state_right is False

    def test_only_warnings_and_errors_are_false_alarms(self):
        assert measured(alarms=[alarm("RNN402", "info")]).false_alarms == []
        assert measured(alarms=[alarm("RNN501", "warning")]).false_alarms == ["RNN501"]

    def test_the_severest_cause_is_the_first_and_consequences_do_not_count(self):
        alarms = [alarm("RNN402", "info"), alarm("RNN601", explained_by="RNN406"), alarm("RNN406")]
        one = measured("never_zeroed", alarms)
        assert one.named_first
        assert not measured("never_zeroed", [alarm("RNN406", "warning"), alarm("RNN501")]).named_first

    def test_the_line_is_the_patched_one_or_uses_what_it_assigns(self):
        fault = "derivative_of_the_state_before"
        patched_line = "            da = (dhs[t] + carry) * (1 - self.hs[t] ** 2)"
        assert measured(fault, [alarm("RNN404", source=patched_line)]).line_right
        assert measured(fault, [alarm("RNN404", source="self.grads[0] += self.xs[t].T @ da")]).line_right
        assert not measured(fault, [alarm("RNN404", source="return dxs")]).line_right

    def test_roles_that_a_fault_changes_are_not_counted(self):
        one = measured("only_the_last_layer_updated", roles={"parameters": {}})
        assert one.parameters_right is None
        assert one.gradients_right is None


class TestReport:
    REPORT = DoctorReport(
        [
            measured(),
            measured(alarms=[alarm("RNN501")]),
            measured("never_zeroed", [alarm("RNN406", source="g.fill(0)")]),
            measured("never_zeroed", [alarm("RNN501")]),
            measured("learning_rate_thousandth", diagnosis=None),
        ]
    )

    def test_the_goals_count_what_was_judged(self):
        rows = self.REPORT.goals().splitlines()
        assert "5/5" in next(row for row in rows if "loop found" in row)
        assert "4/4" in next(row for row in rows if "gradients right" in row)
        assert "1/3" in next(row for row in rows if "right cause" in row)
        assert "1/2" in next(row for row in rows if "false alarm" in row)
        assert "1/5" in next(row for row in rows if "unsure" in row)

    def test_misses_are_sorted_by_kind(self):
        assert "`twofloors/never_zeroed` cause: RNN501 instead of RNN406" in self.REPORT.misses()

    def test_the_page_has_all_tables(self):
        page = self.REPORT.page()
        assert "{" not in page
        assert "twofloors.py" in page


def test_contents_show_a_changed_and_a_new_file(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    before = contents(tmp_path)
    (tmp_path / "a.txt").write_text("b")
    (tmp_path / "b.json").write_text(json.dumps({}))
    after = contents(tmp_path)
    assert set(after) == {"a.txt", "b.json"}
    assert before["a.txt"] != after["a.txt"]


class TestSlice:
    """Two cases of the half tune; all of them: python tests/benchmarks/bench_doctor.py."""

    @pytest.mark.parametrize("fault", ["", "wrong_half_of_the_gradient"])
    def test_a_script_of_two_modules_that_updates_in_its_own_step(self, fault):
        script = SCRIPTS["nightjar"]
        entry = measure(script, script.fault(fault), options=("--batches", "15" if fault else "45"))
        one = DoctorMeasurement.of(script, script.fault(fault), entry)
        assert one.loop_found
        assert one.loss_right
        assert one.parameters_right
        assert one.gradients_right
        assert one.false_alarms == []
        assert one.named_first is bool(fault)
        assert one.changed_files == ()
        assert one.prints != "other"
        assert one.left_behind == 0

    def test_the_line_that_numpy_refuses_is_in_the_document(self):
        script = SCRIPTS["oldnumpy"]
        one = DoctorMeasurement.of(script, None, measure(script, None))
        assert one.document["crash"]["fix"]
        assert one.crash_named
