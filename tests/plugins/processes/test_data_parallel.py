"""data_parallel in a run of one process, where it changes nothing. tests/parallel has runs on ranks."""

from typing import Any

import numpy as np
import pytest

from rnncallbacks import hookimpl
from rnncallbacks.core import plugin_attributes
from rnncallbacks.core.plugin_attributes import is_of_first_rank
from rnncallbacks.errors import OptionError, RankError
from rnncallbacks.parallel import mpi_library
from rnncallbacks.parallel.mpi_library import check_launcher
from rnncallbacks.plugins import Checkpoint, DataParallel, GradientClipping, GradientGuard, LossAveraging, Progress
from rnncallbacks.testing import play


def test_a_run_of_one_process_is_as_without_it() -> None:
    with_it = play([LossAveraging(), DataParallel()], losses=[2.0, 1.0], validation=[1.0], epochs=2)
    without = play([LossAveraging()], losses=[2.0, 1.0], validation=[1.0], epochs=2)
    rows = [
        [{key: one for key, one in row.items() if key != "seconds"} for row in run.history]
        for run in (with_it, without)
    ]
    assert rows[0] == rows[1]
    np.testing.assert_array_equal(with_it.params["w"], without.params["w"])


@pytest.mark.parametrize("axis", [-1, 1.5, True, (), (0, -1), "0"])
def test_an_axis_that_does_not_exist_is_refused(axis: Any) -> None:
    with pytest.raises(OptionError, match="axis"):
        DataParallel(axis=axis)


def test_a_list_of_axes_comes_from_a_configuration() -> None:
    assert DataParallel(axis=[1, 0]).axis == (1, 0)  # type: ignore[arg-type]


def test_output_and_guards_are_called_on_the_first_rank_only() -> None:
    assert all(map(is_of_first_rank, (Checkpoint(), Progress(), GradientGuard())))
    assert not any(map(is_of_first_rank, (GradientClipping(), LossAveraging(), DataParallel(), object())))


def test_a_plugin_that_is_not_admitted_is_not_called() -> None:
    class Admits:
        @hookimpl
        def on_fit_start(self) -> None:
            pass

        def admits(self, plugin: object) -> bool:
            return not plugin_attributes.is_of_first_rank(plugin)

    run = play({"first": Admits(), "averages": LossAveraging(), "guard": GradientGuard()}, losses=[1.0])
    assert [*run.plugins] == ["first", "averages", "guard"]
    assert run.history["train_loss"] == [1.0]
    assert not run.diagnosis.not_checked


def test_a_launcher_without_mpi_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(mpi_library, "import_module", fail)
    with pytest.raises(RankError, match=r"rnncallbacks\[mpi\]"):
        mpi_library.load_mpi()


def test_without_mpiexec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi_library, "_file_of_mpich", lambda name: None)
    monkeypatch.setattr(mpi_library.shutil, "which", lambda name, path=None: None)
    with pytest.raises(RankError, match=r"rnncallbacks\[mpi\]"):
        mpi_library.find_mpiexec()


def test_a_launcher_of_another_mpi_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setattr("rnncallbacks.parallel.mpi_library.find_mpiexec", lambda: "mpiexec")
    with pytest.raises(RankError, match="mpiexec started 2 processes, and the MPI library of this one finds no other"):
        check_launcher(1)
    check_launcher(2)
