"""Ctrl-C at the end of a run reaches the plugin that is called, and every other plugin is still told."""

import signal
import threading

import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.interrupts import InterruptGate
from rnncallbacks.core.run import Run


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_within_a_call_is_raised_there():
    with InterruptGate() as gate, pytest.raises(KeyboardInterrupt):
        gate.call(interrupt)
    assert not gate.kept


def test_an_interrupt_outside_a_call_is_kept_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with InterruptGate() as gate:
        interrupt()
        assert gate.kept
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_of_the_script_stays():
    caught = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        with InterruptGate() as gate:
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught == [signal.SIGINT]
    assert not gate.kept


def test_another_thread_keeps_its_hands_off():
    handlers = []

    def work():
        with InterruptGate():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


class Told:
    def __init__(self, told, word, at_the_end=lambda: None):
        self.told, self.word, self.at_the_end = told, word, at_the_end

    @hookimpl
    def on_fit_end(self):
        self.told.append(self.word)
        self.at_the_end()


def one_epoch(plugins, where=None):
    with Run(plugins=plugins) as run:
        if where is not None:
            run.plugins._where = where
        for _ in run.epochs(1):
            pass


def test_every_plugin_is_told_although_one_is_interrupted():
    told = []
    with pytest.raises(KeyboardInterrupt):
        one_epoch({"a": Told(told, "a", interrupt), "b": Told(told, "b"), "c": Told(told, "c")})
    assert told == ["a", "b", "c"]


def test_every_plugin_is_told_although_an_interrupt_comes_between_two():
    told = []

    def fail():
        raise ValueError("of a plugin")

    def where():  # it is called between two plugins, for the note on the error
        interrupt()
        return "between"

    with pytest.raises(ValueError, match="of a plugin") as failed:
        one_epoch({"a": Told(told, "a", fail), "b": Told(told, "b"), "c": Told(told, "c")}, where)
    assert told == ["a", "b", "c"]
    assert any(note.startswith("then KeyboardInterrupt") for note in failed.value.__notes__)


class WithoutNotesError(Exception):
    def add_note(self, note):
        raise RuntimeError("no notes here")

    def __str__(self):
        raise RuntimeError("no words either")


def test_every_plugin_is_told_although_an_exception_takes_no_note():
    told = []

    def fail():
        raise WithoutNotesError

    with pytest.raises(WithoutNotesError):
        one_epoch({"a": Told(told, "a", fail), "b": Told(told, "b", fail), "c": Told(told, "c")})
    assert told == ["a", "b", "c"]


@pytest.mark.parametrize("who", "abc")
def test_every_plugin_is_told_once_although_one_takes_one_out(who):
    told = []
    run = Run(plugins={word: Told(told, word) for word in "bc"})
    run.plugins.register(Told(told, "a", lambda: run.unregister(who)), "a")
    with run:
        for _ in run.epochs(1):
            pass
    assert sorted(told) == ["a", "b", "c"]
    assert who not in run.plugins
