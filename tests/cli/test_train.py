"""``rnncallbacks train``, as somebody at a terminal meets it."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.config.configuration import RECOMMENDED
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.rnn.model import RecurrentModel

COMMAND = [sys.executable, "-m", "rnncallbacks"]
SMALL = ["--epochs", "2", "--hidden-size", "16", "--batch-size", "4", "--sample", "30"]
TEXT = "it is what it is, and that is that. " * 60


class Stopping:
    """Ends a run at once, and says so."""

    @hookimpl
    def on_fit_start(self, run) -> None:
        run.stop("asked to")


@pytest.fixture(autouse=True)
def text_file(own_directory):
    Path("text.txt").write_text(TEXT)


def call(*arguments: str):
    return CliRunner().invoke(rnncallbacks, list(arguments))


def train(*arguments: str):
    """A run on a small text, in this process."""
    return call("train", "text.txt", *SMALL, *arguments)


def same_rows(one: str, other: str) -> bool:
    """Whether two files history.csv are the same, but for the wall time of the epochs."""
    tables = []
    for folder in (one, other):
        header, *rows = (line.split(",") for line in Path(folder, "history.csv").read_text().splitlines())
        tables.append([header, *({**dict(zip(header, row, strict=True)), "seconds": ""} for row in rows)])
    return tables[0] == tables[1]


def history(folder: str) -> list[dict]:
    return [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]


def test_the_main_job_beats_the_trigram_model_on_the_embedded_text(run_command):
    done = run_command("train", "--epochs", "2", "--hidden-size", "64", "--learning-rate", "0.01", "--run-dir", "out")
    assert done.returncode == 0, done.stderr
    losses = dict(re.findall(r"  (bigram model|trigram model|this network) +([\d.]+)", done.stdout))
    bigram, trigram, network = (float(losses[name]) for name in ("bigram model", "trigram model", "this network"))
    assert network < trigram < bigram
    margin = float(re.search(r"it beats the trigram model by ([\d.]+)", done.stdout)[1])
    assert margin == pytest.approx(trigram - network, abs=2e-4)  # each of the two is rounded to four digits
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2
    for word in ("train ", "val ", "lr ", "grad norm ", "clipped "):
        assert all(word in line for line in lines)
    # Averages by token, as the n-gram models are scored: the last epoch's is the final loss.
    assert history("out")[-1]["val_loss"] == pytest.approx(network, abs=1e-3)
    assert "\x1b" not in done.stdout


def test_the_run_folder_holds_all_of_the_run():
    done = train("--run-dir", "out")
    assert done.exit_code == 0, done.output
    assert {path.name for path in Path("out").iterdir() if not path.name.endswith(".lock")} == {
        "alarms.jsonl",
        "batches.jsonl",
        "checkpoint.safetensors",
        "config.toml",
        "diagnosis.json",
        "history.csv",
        "history.jsonl",
        "model.safetensors",
        "sample.txt",
        "vocabulary.json",
    }
    assert [row["epoch"] for row in history("out")] == [1, 2]
    vocabulary = json.loads(Path("out/vocabulary.json").read_text())
    assert sorted(vocabulary["tokens"]) == sorted(set(TEXT))
    arrays = load_file("out/model.safetensors")
    model = RecurrentModel(16, vocab_size=len(vocabulary["tokens"]))
    assert {name: array.shape for name, array in arrays.items()} == {
        name: array.shape for name, array in model.parameters.items()
    }
    sample = Path("out/sample.txt").read_text()
    assert len(sample) == 40 + 30
    assert sample in done.output
    assert sample[:40] in TEXT


def test_the_configuration_in_the_run_folder_repeats_the_run_bit_for_bit():
    assert train("--run-dir", "one", "--seed", "3", "-p", "no:divergence_alarm").exit_code == 0
    again = call("train", "--config", "one/config.toml", "--run-dir", "two")
    assert again.exit_code == 0, again.output
    assert same_rows("one", "two")
    for name in ("model.safetensors", "sample.txt", "vocabulary.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    one, two = (tomllib.loads(Path(name, "config.toml").read_text()) for name in ("one", "two"))
    assert one == {**two, "plugins": {**two["plugins"]}}
    assert one["plugins"]["divergence_alarm"] == {"enabled": False}
    assert one["plugins"]["gradient_clipping"] == {"max_norm": 1.0, "mode": "global"}


@pytest.mark.parametrize("told", [["--top-k", "1"], ["--top-p", "0.001"]])
def test_a_sample_of_the_likeliest_characters(told):
    assert train("--run-dir", "out", "--temperature", "9", *told).exit_code == 0
    tokens = json.loads(Path("out/vocabulary.json").read_text())["tokens"]
    numbers = [tokens.index(character) for character in Path("out/sample.txt").read_text()]
    model = RecurrentModel.load("out/model.safetensors")
    logits, _ = model.predict(np.array([numbers]).T, model.zero_state(1))
    assert logits[39:-1, 0].argmax(axis=1).tolist() == numbers[40:]


@pytest.mark.parametrize("threads", [1, 2])
def test_matrix_products_run_on_as_many_threads_as_were_asked_for(install, threads):
    install(
        "acme",
        {"counting": "acme_counting:Counting"},
        acme_counting="""
            from rnncallbacks.core.hookspecs import hookimpl
            from threadpoolctl import threadpool_info

            class Counting:
                @hookimpl
                def on_epoch_end(self, run):
                    run.log(threads=max(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"))
            """,
    )
    train("--run-dir", "out", "--threads", str(threads), "-p", "counting")
    assert {row["threads"] for row in history("out")} == {min(threads, os.cpu_count() or 1)}


@pytest.mark.parametrize(
    ("arguments", "network", "names"),
    [
        ((), "8 tanh units", {"rnn.weight_hh_l0"}),
        (("--cell", "lstm"), "8 LSTM units", {"rnn.weight_hh_l0"}),
        (
            ("--cell", "gru", "--num-layers", "2", "--dropout", "0.3"),
            "2 layers of 8 GRU units",
            {"rnn.weight_hh_l0", "rnn.weight_hh_l1"},
        ),
    ],
)
def test_the_network_is_the_one_that_was_asked_for(arguments, network, names):
    done = train("--run-dir", "out", "--hidden-size", "8", "--profile-plugins", *arguments)
    assert done.exit_code == 0, done.output
    assert re.search(r"^plugin +seconds  us a batch  hooks$", done.stdout, re.MULTILINE)
    assert re.search(r"^checkpoint +\d+\.\d{3} +\d+  on_\w+ \d", done.stdout, re.MULTILINE)
    assert f"network     {network}, " in done.output
    model = RecurrentModel.load("out/model.safetensors")
    assert names == {name for name in model.parameters if "weight_hh" in name}
    assert model.dropout == (0.3 if "--dropout" in arguments else 0.0)


def test_dropout_without_a_second_layer_is_refused():
    done = train("--run-dir", "out", "--dropout", "0.3")
    assert done.exit_code == 2
    assert "dropout acts between layers, and num_layers is 1" in done.output


def test_another_seed_is_another_run():
    for seed in ("1", "2"):
        assert train("--run-dir", seed, "--seed", seed).exit_code == 0
    assert history("1")[-1]["train_loss"] != history("2")[-1]["train_loss"]


def test_without_a_configuration_the_recommended_plugins_run_with_a_schedule_that_fits():
    train("--run-dir", "out")
    tables = tomllib.loads(Path("out/config.toml").read_text())["plugins"]
    assert list(tables) == [*RECOMMENDED, "one_cycle", "progress", "history_log", "checkpoint"]
    batches = -(-(round(len(TEXT) * 0.9) - 1) // 4 // 50)
    assert tables["one_cycle"]["steps"] == 2 * batches


def test_a_configuration_found_upward_takes_the_place_of_the_default_plugins(monkeypatch):
    Path("rnncallbacks.toml").write_text("[train]\nepochs = 1\n[plugins.loss_averaging]\n")
    Path("below").mkdir()
    monkeypatch.chdir("below")
    done = call("train", "../text.txt", "--hidden-size", "8", "--run-dir", "out")
    assert done.exit_code == 0, done.output
    assert "plugins     loss_averaging, progress, history_log, checkpoint" in done.output
    assert len(history("out")) == 1


def test_the_command_line_wins_over_the_table_train():
    Path("rnncallbacks.toml").write_text("[train]\nepochs = 9\n")
    done = train("--run-dir", "out")
    assert "2 epochs" in done.output


@pytest.mark.parametrize("off", ["progress", "history_log", "checkpoint"])
def test_what_always_runs_can_be_taken_out(off):
    done = train("--run-dir", "out", "-p", f"no:{off}")
    assert done.exit_code == 0, done.output
    assert Path("out/history.jsonl").exists() is (off != "history_log")
    assert ("epoch 1/2" in done.output) is (off != "progress")
    assert Path("out/checkpoint.safetensors").exists() is (off != "checkpoint")


def test_a_plugin_of_somebody_else_acts_when_it_is_asked_for(install):
    source = f"from rnncallbacks.core.hookspecs import hookimpl\n\n\n{_source(Stopping)}"
    install("acme", {"stopping": "acme_stopping:Stopping"}, acme_stopping=source)
    done = train("--run-dir", "out", "-p", "stopping")
    assert "stopped: asked to" in done.output
    assert "It was stopped: asked to." in done.output
    assert len(history("out")) == 0


def _source(owner: type) -> str:
    import inspect

    return inspect.getsource(owner)


def test_a_network_that_learned_too_little_is_told_to_have():
    done = train("--run-dir", "out")
    assert "The network does not beat the trigram model" in done.output
    assert done.exit_code == 0


def test_a_network_that_diverged_raises_an_alarm_and_says_so(run_command):
    done = run_command("train", "text.txt", *SMALL, "--epochs", "9", "--learning-rate", "100", "--run-dir", "out")
    assert done.returncode == 1
    assert "The network diverged: lower --learning-rate." in done.stdout
    # The cause is told at once, and what follows from it below it when the run is over.
    assert done.stderr.startswith("RNN501 the learning rate is too high (")
    assert "RNN602" not in done.stderr
    assert "stopped: " not in done.stdout  # a rise is no proof
    assert re.search(r"^  RNN501 .*\n(    .*\n)*    consequence: RNN602 divergence \(", done.stdout, re.MULTILINE)
    alarms = [json.loads(line) for line in Path("out/alarms.jsonl").read_text().splitlines()]
    assert {(alarm["code"], alarm["explained_by"]) for alarm in alarms} >= {("RNN501", None), ("RNN602", "RNN501")}


def test_divergence_is_an_exit_code_without_any_alarm_too():
    Path("plain.toml").write_text("[plugins.loss_averaging]\n")
    done = train("--config", "plain.toml", "--learning-rate", "100", "--run-dir", "out")
    assert done.exit_code == 1
    assert "stopped: " not in done.output
    assert "The network diverged: lower --learning-rate." in done.output


def test_a_healthy_run_ends_in_a_short_diagnosis():
    done = train("--run-dir", "out")
    lines = done.output.splitlines()
    (last_epoch,) = [place for place, line in enumerate(lines) if line.startswith("epoch 2/2")]
    diagnosis = lines[last_epoch + 1 : lines.index("held-out loss, nats per character") - 1]
    assert re.fullmatch(r"checks passed: \d\d", diagnosis[0])
    assert len(diagnosis) < 20
    assert "not checked: evidence is missing" in diagnosis
    assert "fired" not in diagnosis
    assert "noticed" not in diagnosis


def test_control_characters_of_the_text_do_not_reach_the_terminal():
    Path("text.txt").write_text("\x1b[2Jred" * 300)
    done = train("--run-dir", "out")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert "\x1b" in Path("out/sample.txt").read_text()


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
def test_ctrl_c_keeps_history_and_model():
    Path("long.txt").write_text(TEXT * 20)
    process = subprocess.Popen(
        [*COMMAND, "train", "long.txt", "--epochs", "10000", "--hidden-size", "16", "--run-dir", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        # The line of the second epoch comes when the first is done with for good.
        if re.match(r"epoch +2/", line):
            process.send_signal(signal.SIGINT)
            break
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    rows = history("out")
    assert re.search(r"interrupted after \d+ whole epochs?; history and model so far are in out", said)
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows
    assert load_file("out/model.safetensors")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing.txt"], "missing.txt: there is no such file"),
        (["tex.txt"], "tex.txt: there is no such file; did you mean 'text.txt'?"),
        (["."], ".: expected a text file, got a directory"),
        (["binary.txt"], "binary.txt: expected UTF-8 text, got byte 0xff at offset 2: "),
        (["empty.txt"], "empty.txt: the file has no text: 0 bytes"),
        (["tiny.txt"], "tiny.txt: too short: "),
        (["short.txt"], "short.txt: too short: tokens: 18 tokens are too few for batch_size 32: "),
        (["text.txt", "--run-dir", "text.txt"], "--run-dir: expected a directory, got the file text.txt"),
        (
            ["text.txt", "--run-dir", "used"],
            "--run-dir: used holds a run that did not end, with other settings than this text; ",
        ),
        (["text.txt", "--run-dir", "text.txt/out"], "cannot make the directory text.txt/out: Not a directory"),
        (["text.txt", "--epochs", "0"], "--epochs: expected an integer >= 1, got 0"),
        (["text.txt", "--held-out", "1"], "--held-out: expected a number > 0 and < 1, got 1.0"),
        (["text.txt", "-p", "progres"], "-p: no plugin 'progres' is installed; did you mean 'progress'?"),
        (["text.txt", "-p", "step_decay"], "-p: step_decay every: is required: expected int, got nothing"),
        (["text.txt", "--config", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["text.txt", "--config", "bad.toml"], "bad.toml: [train] epochs: expected int, got '5' (str)"),
    ],
)
def test_bad_input_gives_one_line_and_no_traceback(arguments, expected):
    Path("binary.txt").write_bytes(b"ab\xff")
    Path("empty.txt").touch()
    Path("tiny.txt").write_text("ab")
    Path("short.txt").write_text("to be or not to be!?")
    Path("bad.toml").write_text("[train]\nepochs = '5'\n")
    Path("used").mkdir()
    Path("used/config.toml").touch()
    done = call("train", "--batch-size", "32", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {expected}")
    assert done.stderr.count("\n") == 1
    assert not Path("runs").exists()


def test_all_bad_settings_come_at_once():
    done = call("train", "--epochs", "0", "--seq-len", "-1", "--temperature", "nan")
    assert done.stderr.splitlines() == [
        "error: --epochs: expected an integer >= 1, got 0",
        "error: --seq-len: expected an integer >= 1, got -1",
        "error: --temperature: expected a number > 0, got nan",
    ]


def test_an_error_in_a_plugin_says_in_which(install):
    install(
        "acme",
        {"refusing": "acme_refusing:Refusing"},
        acme_refusing="""
            from rnncallbacks.errors import OptionError
            from rnncallbacks.core.hookspecs import hookimpl

            class Refusing:
                @hookimpl
                def on_epoch_start(self, run):
                    raise OptionError("not today")
            """,
    )
    done = train("--run-dir", "out", "-p", "refusing")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[0] == "error: not today"
    assert "plugin 'refusing', hook on_epoch_start, epoch 1" in done.stderr


def test_a_run_of_its_own_gets_a_folder_of_its_own():
    for _ in range(2):
        assert train().exit_code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_a_run_that_fails_keeps_its_model(tmp_path: Path) -> None:
    (tmp_path / "stop.toml").write_text(
        '[plugins.loss_averaging]\n[plugins.plateau_alarm]\npatience = 1\nmin_delta = 50.0\naction = "raise"\n'
    )
    done = train("--run-dir", "out", "--config", str(tmp_path / "stop.toml"), "--epochs", "4")
    assert done.exit_code == 1
    assert "the run failed; history and model so far are in out" in done.stdout
    assert Path("out/model.safetensors").exists()


def test_a_checkpoint_lies_in_the_run_folder_and_no_other_run_takes_it_up() -> None:
    assert train("--run-dir", "one").exit_code == 0
    told = call("train", "--config", "one/config.toml", "--run-dir", "two")
    assert told.exit_code == 0, told.output
    assert Path("one/checkpoint.safetensors").exists()
    assert len(history("two")) == 2


class Killing:
    """Ends the process in the second epoch, as long as there is a file named kill."""

    @hookimpl
    def on_epoch_end(self, run) -> None:
        if run.epoch == 2 and os.path.exists("kill"):
            os.kill(os.getpid(), 9)


@pytest.fixture
def killed(install, run_command):
    """A folder whose run was killed in its second epoch, and the arguments with which it was started."""
    source = f"import os\nfrom rnncallbacks.core.hookspecs import hookimpl\n\n\n{_source(Killing)}"
    site = install("acme", {"killing": "acme_killing:Killing"}, acme_killing=source)
    arguments = ["train", "text.txt", *SMALL, "--epochs", "3", "-p", "killing"]
    Path("kill").touch()
    done = run_command(*arguments, "--run-dir", "out", PYTHONPATH=str(site))
    assert done.returncode == -9, done.stderr
    Path("kill").unlink()
    assert call(*arguments, "--run-dir", "whole").exit_code == 0
    return arguments


@pytest.mark.parametrize("again", [["--run-dir", "out"], None])
def test_a_run_that_was_killed_goes_on(killed, again):
    done = call(*killed, *again) if again else call("train", "--resume", "out")
    assert done.exit_code == 0, done.output
    assert same_rows("out", "whole")
    for name in ("alarms.jsonl", "batches.jsonl", "model.safetensors", "sample.txt"):
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes(), name
    assert "epoch 1/3" not in done.output
    if again:
        assert "holds a run already; name another, or write --resume out" in call(*killed, *again).stderr


def test_other_settings_in_the_folder_of_a_killed_run_are_refused(killed):
    done = call(*killed, "--run-dir", "out", "--seed", "5")
    assert done.exit_code == 2
    assert (
        "out holds a run that did not end, with other settings than seed = 5; name another, or write --res"
        in done.stderr
    )
    Path("text.txt").write_text(f"{TEXT} And more.")
    assert "the text is not the one on which the run in out was trained" in call("train", "--resume", "out").stderr


def test_a_finished_run_resumes_for_more_epochs_and_is_left_alone_without():
    assert train("--run-dir", "out").exit_code == 0
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert call("train", "--resume", "out").exit_code == 0
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    assert call("train", "--resume", "out", "--epochs", "3").exit_code == 0
    assert len(history("out")) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--resume", "nowhere"], "nowhere holds no run: it has no config.toml"),
        (["--resume", "a", "--run-dir", "b"], "so --run-dir cannot be given"),
        (["--resume", "a", "--config", "b"], "so --config cannot be given"),
    ],
)
def test_what_cannot_be_resumed(arguments, expected):
    done = call("train", *arguments)
    assert done.exit_code == 2
    assert expected in done.stderr
