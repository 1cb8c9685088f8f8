"""What a script changes in its process is restored before it is run once more."""

import builtins
import io
import os
import signal
import sys
import types

import numpy as np

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.process_state import process_state


def state():
    return (
        dict(os.environ), set(vars(builtins)), list(sys.path), sys.argv, sys.stdout, sys.excepthook, os.getcwd(),
        sys.getrecursionlimit(), np.geterr(), np.random.default_rng, signal.getsignal(signal.SIGTERM),
        sys.modules["__main__"], "module_of_the_script" in sys.modules,
    )  # fmt: skip


def test_the_state_of_the_process_is_restored(monkeypatch, tmp_path):
    monkeypatch.setenv("OF_THE_USER", "1")
    before, modules = state(), OwnModules()
    with process_state(modules):
        os.environ.update(OF_THE_USER="2", OF_THE_SCRIPT="3")
        builtins.of_the_script = 1
        sys.path.insert(0, str(tmp_path))
        sys.argv, sys.stdout, sys.excepthook = ["script.py"], io.StringIO(), print
        os.chdir(tmp_path)
        sys.setrecursionlimit(sys.getrecursionlimit() + 1000)
        np.seterr(all="raise")
        np.random.default_rng = None
        signal.signal(signal.SIGTERM, lambda *_: None)
        sys.modules["__main__"] = sys.modules["module_of_the_script"] = types.ModuleType("module_of_the_script")
        modules.names.add("module_of_the_script")
    assert state() == before
