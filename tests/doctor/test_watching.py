"""The script's own numbers are those of a run without the doctor, and nothing of it is left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.iteration_record import same_bits
from rnncallbacks.doctor.other_threads import OpenLoops
from rnncallbacks.doctor.rerun_iteration import rerun_iterations
from rnncallbacks.doctor.sandbox import ScratchFolder
from rnncallbacks.doctor.script_process import Assignment, has_no_other_end
from rnncallbacks.doctor.watch_messages import ReplayRequest
from rnncallbacks.doctor.watched_script import ScriptOverError, watched_script

SCRIPTS = Path(__file__).parent / "scripts"
LOSS = ("end", "__main__", "loss")
WEIGHTS = ("end", "__main__", "Whh")


def line_of(path, text):
    return 1 + path.read_text().splitlines().index(text)


@pytest.fixture
def flat(tmp_path):
    """The flat script, watched at its loop."""
    path = SCRIPTS / "flat_characters.py"
    with ScratchFolder() as scratch:
        assignment = Assignment(path, scratch.new_place(), loop=(str(path), line_of(path, "while True:")))
        with watched_script(assignment, time.monotonic() + 60.0) as script:
            script.wait_for_loop()
            yield script


@pytest.fixture(scope="module")
def losses_alone(tmp_path_factory):
    """The first losses of the flat script when it runs by itself, in hexadecimal digits."""
    alone = tmp_path_factory.mktemp("alone") / "alone.py"
    source = (SCRIPTS / "flat_characters.py").read_text()
    alone.write_text(source.replace("    n += 1\n", "    n += 1\n    print(loss.hex())\n    if n == 8: break\n"))
    done = subprocess.run([sys.executable, str(alone)], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "0x" in line]


def test_the_losses_are_bit_for_bit_those_of_the_script_alone(flat, losses_alone):
    watched = []
    for _ in range(8):
        frozen = flat.go_on(freeze=True)
        record = flat.record()
        frozen.replay(ReplayRequest({WEIGHTS: np.ones_like(record.start[WEIGHTS])}))
        flat.release(frozen)
        watched.append(record.end[LOSS].hex())
    assert watched == losses_alone


def test_a_replay_runs_with_other_values_and_leaves_the_script_as_it_is(flat):
    frozen = flat.go_on(freeze=True)
    record = flat.record()
    same = frozen.replay(ReplayRequest())
    other = frozen.replay(ReplayRequest({WEIGHTS: np.ones_like(record.start[WEIGHTS])}))
    assert same.end[LOSS] == record.end[LOSS]
    assert other.end[LOSS] != record.end[LOSS]
    flat.go_on()
    assert np.array_equal(flat.record().start[WEIGHTS], record.end[WEIGHTS])


def test_a_question_for_one_number_is_answered_with_that_number(flat):
    frozen = flat.go_on(freeze=True)
    record = flat.record()
    answer = frozen.replay(ReplayRequest(only=frozenset([("return", "lossFun", "return[0]")])))
    assert answer.inside == {("return", "lossFun", "return[0]"): record.end[LOSS]}
    assert not answer.end


def test_many_iterations_can_be_frozen_one_after_the_other(flat):
    for _ in range(20):
        frozen = flat.go_on(freeze=True)
        record = flat.record()
        assert frozen.replay(ReplayRequest()).end[LOSS] == record.end[LOSS]
        flat.release(frozen)


def test_where_nothing_is_forked_the_script_is_run_again_up_to_the_iteration(losses_alone):
    path = SCRIPTS / "flat_characters.py"
    until = time.monotonic() + 60.0
    with ScratchFolder() as scratch:
        assignment = Assignment(path, scratch.new_place(), loop=(str(path), line_of(path, "while True:")), seed=0)
        with rerun_iterations(assignment, until, scratch.new_place) as rerun:
            with watched_script(assignment, until, fork=False) as script:
                script.wait_for_loop()
                for loss in losses_alone[:2]:
                    assert script.go_on(freeze=True) is None
                    record = script.record()
                    assert record.end[LOSS].hex() == loss
            second = rerun(2)
            again = second.replay(ReplayRequest(numbers_only=False))
            assert again.number == 2
            assert all(same_bits(value, again.end[key]) for key, value in record.end.items())
            pushed = second.replay(ReplayRequest({WEIGHTS: record.start[WEIGHTS] + 0.1}))
            assert pushed.end[LOSS] != record.end[LOSS]


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal of its own and the signal of Ctrl-C")
def test_ctrl_c_gives_the_diagnosis_so_far_and_leaves_no_process(tmp_path):
    script = tmp_path / "endless.py"
    source = (SCRIPTS / "flat_characters.py").read_text()
    slow = source.replace("    n += 1\n", "    n += 1\n    time.sleep(0.001)\n")
    script.write_text(slow.replace("import numpy", "import time\nimport numpy"))
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    ours, theirs = os.openpty()
    doctor = subprocess.Popen(
        [sys.executable, "-m", "rnncallbacks", "doctor", "--batches", "1000", "endless.py"],
        cwd=tmp_path,
        env={**os.environ, "DOCTOR_TEST": mark, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)  # or a doctor that ended would be waited for
    try:
        shown = ""
        while not re.search(r"doctor: batch [1-9]\d* of 1000 of endless.py:54, \d+ of 60 s", shown):
            shown += os.read(ours, 1000).decode()
        doctor.send_signal(signal.SIGINT)
        output, _ = doctor.communicate(timeout=60.0)
    finally:
        doctor.kill()
        os.close(ours)
    assert "interrupted: this is the diagnosis so far" in output
    assert "loss         loss   certain" in output
    assert not processes_with(mark)
    assert [path.name for path in tmp_path.iterdir()] == ["endless.py"]


ENDING_ITSELF = """\
import os
w = [1.0, 2.0]
for step in range(9):
    w[0] += 1.0
    if step == 1:
        os.kill(os.getpid(), 9)
"""


@pytest.mark.usefixtures("forked_modules")
def test_the_end_of_the_scripts_process_is_seen_while_an_iteration_is_frozen(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(ENDING_ITSELF)
    with ScratchFolder() as scratch:
        assignment = Assignment(path, scratch.new_place(), loop=(str(path), 3))
        with watched_script(assignment, time.monotonic() + 60.0) as script:
            script.wait_for_loop()
            frozen = script.go_on(freeze=True)
            script.record()
            script.go_on()
            with pytest.raises(ScriptOverError):
                script.record()
            assert frozen.replay(ReplayRequest()).end["end", "__main__", "step"] == 0


def test_the_loops_that_enclose_the_training_loop():
    loops, frame, loader = OpenLoops(), sys._getframe(), sys._getframe(1)
    windows, songs, epochs, other_epochs = (
        Site("loop", "script.py", line, source, "f")
        for line, source in enumerate(("for x in y:", "for song in songs:", "for epoch in range(9):", "for ep in z:"))
    )
    yielding, batches = (Site("loop", "script.py", 1, "for x in y:", "f", generator=True) for _ in range(2))
    other = threading.Thread(target=loops.begin, args=(songs, frame))
    other.start()
    other.join()
    loops.begin(yielding, loader)
    loops.begin(windows, frame)
    assert loops.around(windows, frame) == []
    for one in (epochs, songs, other_epochs):
        loops.begin(one, frame)
    assert loops.around(windows, frame) == [epochs, songs, other_epochs]
    for _ in range(2):
        for one in (epochs, other_epochs, songs):
            loops.tick(one)
        loops.begin_training(windows, frame)
    assert loops.epoch == 2
    for _ in range(3):
        loops.end(songs, frame)
    assert loops.around(windows, frame) == []
    loops.begin(batches, loader)
    assert loops.around(yielding, loader) == [windows, batches]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the script goes on to its next message")
def test_a_doctor_that_was_killed_before_its_script_began():
    one, other = socket.socketpair()
    link, end = Connection(one.detach()), Connection(other.detach())
    assert not has_no_other_end(link)
    end.send("a message")
    assert not has_no_other_end(link)
    end.close()
    assert not has_no_other_end(link)
    assert link.recv() == "a message"
    assert has_no_other_end(link)
    link.close()


def processes_with(mark):
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes() and path.parent.name != str(os.getpid()):
                found.append(path.parent.name)
        except OSError:
            continue
    return found
