"""The state of its process that a script may change, restored so that the script can be run once more in it."""

from __future__ import annotations

import builtins
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rnncallbacks.doctor.frame_scopes import OwnModules


@contextmanager
def process_state(modules: OwnModules) -> Iterator[None]:
    """Restore the state of the process behind the body, and forget the modules of the user that the body imports.

    Installed packages stay loaded, with what the script has changed in them. Generators of random numbers are not
    restored: give them a seed before each run.

    Parameters
    ----------
    modules:
        The modules of the user, complete at the end of the body.
    """
    mappings = [(one, dict(one)) for one in (os.environ, vars(builtins))]
    searched: tuple[list[Any], ...] = sys.path, sys.meta_path, sys.path_hooks
    lists = [(one, list(one)) for one in searched]
    names = ("argv", "stdin", "stdout", "stderr", "excepthook", "displayhook")
    attributes = [(sys, name, getattr(sys, name)) for name in names]
    attributes.append((np.random, "default_rng", np.random.default_rng))
    main, folder, limit, errors = sys.modules["__main__"], os.getcwd(), sys.getrecursionlimit(), np.geterr()
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for name in modules.names:
            sys.modules.pop(name, None)
        sys.modules["__main__"] = main
        for mapping, before in mappings:
            for name in mapping.keys() - before.keys():
                del mapping[name]
            mapping.update(before)
        for one, items in lists:
            one[:] = items
        for owner, name, value in attributes:
            setattr(owner, name, value)
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        sys.setrecursionlimit(limit)
        np.seterr(**errors)
        os.chdir(folder)
