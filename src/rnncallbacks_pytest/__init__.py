"""The kit for authors of plugins as fixtures of pytest.

It is a package of its own because pytest imports it in every session where the library is installed. The library itself
is imported only when a test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from rnncallbacks import Run
    from rnncallbacks.testing import Recorder

BUDGET = "rnncallbacks_budget"
DEFAULT_BUDGET_US = 50.0
"""Default time that a plugin may take for a batch, in microseconds; the default of check_plugin."""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        f"{BUDGET}(us): the time that check_plugin allows a plugin for a batch, in microseconds; None for no limit",
    )


class InstallPlugin(Protocol):
    """The type of the fixture ``installed_plugin``."""

    def __call__(
        self,
        factory: Callable[..., object] | str,
        name: str | None = None,
        *,
        distribution: str = "plugin-under-test",
        codes: Mapping[str, str] | None = None,
    ) -> str:
        """Install a plugin and return its name."""
        ...


@pytest.fixture
def play() -> Callable[..., Run]:
    """The function :func:`rnncallbacks.testing.play`."""
    from rnncallbacks.testing import play

    return play


@pytest.fixture
def recorder() -> Recorder:
    """A new :class:`rnncallbacks.testing.Recorder`."""
    from rnncallbacks.testing import Recorder

    return Recorder()


@pytest.fixture
def check_plugin(request: pytest.FixtureRequest) -> Callable[..., None]:
    """The function :func:`rnncallbacks.testing.check_plugin`, with the budget of the marker ``rnncallbacks_budget``."""
    from rnncallbacks.testing import check_plugin

    marker = request.node.get_closest_marker(BUDGET)
    if marker is None:
        budget: Any = DEFAULT_BUDGET_US
    elif len(marker.args) == 1 and not marker.kwargs:
        (budget,) = marker.args
    else:
        raise pytest.UsageError(f"{BUDGET}: expected one number of microseconds or None: @pytest.mark.{BUDGET}(50)")

    def check(make: Callable[[], object], **options: Any) -> None:
        check_plugin(make, **{"budget_us": budget} | options)

    return check


@pytest.fixture
def installed_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallPlugin:
    """A function that installs a plugin for this test, as a distribution that has only the entry point.

    It takes the class of a plugin or ``"module:Class"``, and returns the name under which a configuration finds it:
    ``name``, or the name of the class in snake_case. ``distribution`` is the name of the distribution. ``codes`` maps
    the alarm codes that it registers to their entries, ``"module:ENTRY"``.
    """
    from rnncallbacks.testing.kit.installation import install_plugin

    def install(
        factory: Callable[..., object] | str,
        name: str | None = None,
        *,
        distribution: str = "plugin-under-test",
        codes: Mapping[str, str] | None = None,
    ) -> str:
        folder = tmp_path / f"site-{distribution}"
        installed = install_plugin(factory, name, folder=folder, distribution=distribution, codes=codes or {})
        monkeypatch.syspath_prepend(str(folder))
        return installed

    return install
