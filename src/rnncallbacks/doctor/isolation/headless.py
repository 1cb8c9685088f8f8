"""Modules that open windows or read input, changed on import so that they do neither."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

SETTINGS = {
    "MPLBACKEND": "Agg",
    "QT_QPA_PLATFORM": "offscreen",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
}
"""Environment variables that keep libraries from drawing on the screen."""
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def _do_nothing(*_arguments: Any, **_options: Any) -> None:
    return None


def _quiet_matplotlib(module: ModuleType) -> None:
    module.__dict__["use"] = _do_nothing


def _quiet_pyplot(module: ModuleType) -> None:
    for name in ("show", "pause", "waitforbuttonpress", "ginput"):
        module.__dict__[name] = _do_nothing
    switch = module.__dict__["switch_backend"]
    module.__dict__["switch_backend"] = lambda _: switch("agg")


def _plain_tqdm(module: ModuleType) -> None:
    """Bars of a terminal in place of those of a notebook, which need a browser."""
    from importlib import import_module

    module.__dict__.update(tqdm=import_module("tqdm").tqdm, trange=import_module("tqdm").trange)


def _quiet_opencv(module: ModuleType) -> None:
    for name in ("imshow", "namedWindow", "destroyAllWindows"):
        module.__dict__[name] = _do_nothing
    module.__dict__["waitKey"] = lambda *_: -1


CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "cv2": _quiet_opencv,
    "matplotlib": _quiet_matplotlib,
    "matplotlib.pyplot": _quiet_pyplot,
    "tqdm.notebook": _plain_tqdm,
}
"""The changes of a module after its import."""


class _Finder(MetaPathFinder):
    """Finds the modules of the finders after it, and changes them when they are loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in CHANGES:
            return None
        after = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(fullname, path, target) for finder in after if hasattr(finder, "find_spec"))
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _ChangingLoader(spec.loader, CHANGES[fullname])
        return spec


class _ChangingLoader(Loader):
    def __init__(self, loader: Any, change: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)


@contextmanager
def headless() -> Iterator[None]:
    """No windows in the body: figures are drawn in memory, ``plt.show`` does nothing, and ``input`` reads nothing."""
    finder = _Finder()
    environment = dict(os.environ)
    os.environ.update(SETTINGS)
    for name in DISPLAYS:
        os.environ.pop(name, None)
    sys.meta_path.insert(0, finder)
    loaded = {name: dict(vars(sys.modules[name])) for name in CHANGES if name in sys.modules}
    for name in loaded:
        CHANGES[name](sys.modules[name])
    before = sys.stdin
    try:
        with open(os.devnull, encoding="utf-8") as sys.stdin:
            yield
    finally:
        sys.stdin = before
        for name, attributes in loaded.items():
            vars(sys.modules[name]).update(attributes)
        sys.meta_path.remove(finder)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
