"""Runs a script, and imports its own modules, with instrumented code."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path

from rnncallbacks.doctor.instrument import Sites, instrument
from rnncallbacks.doctor.script_source import ScriptSource

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
LIBRARY_PATHS = ("stdlib", "platstdlib", "purelib", "platlib")
"""Names of sysconfig for the folders of the standard library and of installed packages. Others, such as "data", may be
the prefix of all programs, in which scripts of the user may also be."""
PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})


class _InstrumentingLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, sites: Sites, seen: Callable[[str], None]) -> None:
        super().__init__(name, path)
        self._sites = sites
        self._seen = seen

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the source; compiled files are neither read nor written."""
        path = self.get_filename(fullname)
        source = importlib.util.decode_source(self.get_data(path))
        self._seen(fullname)
        return instrument(source, path, self._sites)


class OwnModuleFinder(MetaPathFinder):
    """Finds the modules of the user: those outside the standard library and the folders of installed packages."""

    def __init__(self, sites: Sites, seen: Callable[[str], None]) -> None:
        self._sites = sites
        self._seen = seen
        paths = sysconfig.get_paths()
        folders = [*(paths[name] for name in LIBRARY_PATHS), *site.getsitepackages(), site.getusersitepackages()]
        self._foreign = tuple({os.path.realpath(folder) + os.sep for folder in folders if folder})

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a module of the user, with a loader that instruments it; None for every other module."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        origin = os.path.realpath(spec.origin)
        parents = Path(origin).parents
        if origin.startswith(self._foreign) or PACKAGE_ROOT in parents:
            return None
        # Folders of packages that belong to another environment, reached by PYTHONPATH or by a .pth file.
        if not PACKAGE_FOLDERS.isdisjoint(folder.name for folder in parents):
            return None
        if not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return None
        loader = _InstrumentingLoader(fullname, spec.origin, self._sites, self._seen)
        spec.loader = loader
        return spec


def main_module(source: ScriptSource, arguments: list[str]) -> types.ModuleType:
    """The module ``__main__`` for a script, with the arguments and the search path that Python gives a script."""
    script = source.path
    main = types.ModuleType("__main__")
    main.__dict__.update(source.names, __file__=str(script), __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.argv = [str(script), *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    if (package := source.package) is not None:
        main.__package__, sys.path[0] = package[0], str(package[1])
    return main


def run_instrumented(source: ScriptSource, arguments: list[str], sites: Sites, seen: Callable[[str], None]) -> None:
    """Run a script as ``__main__`` with instrumented code, and its modules too. Its exceptions are raised."""
    script = source.path
    code = instrument(source.text, str(script), sites)
    main = main_module(source, arguments)
    sys.meta_path.insert(0, OwnModuleFinder(sites, seen))
    seen("__main__")
    exec(code, main.__dict__)
