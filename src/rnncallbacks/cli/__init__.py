"""The command line: ``rnncallbacks train``, ``plugins``, ``check``, ``doctor``, ``report`` and ``explain``.

Each command is one module of this folder; ``commands`` collects them.
"""

import sys
import time


def main() -> None:
    """Run the command line. Without the libraries that it needs, name the extra that installs them and exit with 2."""
    began = time.monotonic()
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError as error:
        sys.stderr.write(f"error: the command line needs {error.name}: pip install 'rnncallbacks[cli]'\n")
        sys.exit(2)
    try:
        from rnncallbacks.cli.commands import rnncallbacks
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)

    rnncallbacks(prog_name="rnncallbacks", obj=began)  # for time limits, which include the imports
