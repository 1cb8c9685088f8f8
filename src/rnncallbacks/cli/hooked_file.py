"""The file that ``rnncallbacks doctor --write-hooked`` writes."""

from __future__ import annotations

from pathlib import Path

from rnncallbacks.doctor.hooking.hook_place import ProbedScript
from rnncallbacks.doctor.hooking.hooked_roles import loops_from_roles
from rnncallbacks.doctor.hooking.hooked_script import hooked_script
from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.roles.role_table import Roles
from rnncallbacks.doctor.script_findings import ScriptFindings
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.files import write_atomically


def check_path(script: Path, path: Path) -> None:
    """Refuse a path that is the script, or whose folder does not exist.

    Raises
    ------
    OptionError
        The path cannot be written.
    """
    if path.exists() and path.samefile(script):
        raise OptionError(f"--write-hooked: {path} is the script itself", hint="give the path of another file")
    if not path.parent.is_dir():
        raise OptionError(f"--write-hooked: the folder {path.parent} of {path.name} does not exist")


def write_hooked(script: Path, arguments: list[str], findings: ScriptFindings, path: Path, until: float) -> str:
    """Write the script, or its module that contains the loop, with ``Run`` around the loop; return a message.

    The script is run for a few passes of the loop, until ``until`` as of ``time.monotonic`` at most.

    Raises
    ------
    DataError
        No loop was found, or it has no place for the hooks.
    OptionError
        The path is that of the loop's file.
    """
    if findings.loop is None or findings.roles is None:
        raise DataError(f"{script}: no training loop was found, so none can be written with Run around it")
    file = Path(findings.loop.site.file)
    check_path(file, path)
    probed = ProbedScript(script, tuple(arguments), until)
    write_atomically(path, _text(probed, findings.loop.site, findings.roles, findings.report))
    place = "" if file == script else f"; it takes the place of {file}"
    return f"with Run around its loop: {path}{place}"


def _text(script: ProbedScript, site: Site, roles: Roles, report: Key | None) -> str:
    """The script with hooks in the first loop that has a place for them."""
    failures = []
    for loop in loops_from_roles(read_script(Path(site.file)), site, roles, report):
        try:
            return hooked_script(loop, script)
        except DataError as error:
            failures.append(error)
    raise failures[0]
