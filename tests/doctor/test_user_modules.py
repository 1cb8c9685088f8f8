import sys
from pathlib import Path

import numpy as np
import pytest

from rnncallbacks.doctor.instrument import Sites
from rnncallbacks.doctor.user_modules import OwnModuleFinder


@pytest.mark.parametrize(("folder", "own"), [("layers", True), ("env/lib/python3.12/site-packages", False)])
def test_modules_of_the_user_are_instrumented_and_packages_of_any_environment_are_not(folder, own, tmp_path):
    path = tmp_path / folder
    path.mkdir(parents=True)
    (path / "doctored_cells.py").write_text("for i in range(3):\n    pass\n")
    sites = Sites()
    spec = OwnModuleFinder(sites, lambda name: None).find_spec("doctored_cells", [str(path)])
    assert (spec is not None) is own
    if spec is not None:
        spec.loader.get_code("doctored_cells")
        assert [site.source for site in sites.known] == ["for i in range(3):"]


def test_the_standard_library_and_numpy_are_not_instrumented():
    finder = OwnModuleFinder(Sites(), lambda name: None)
    assert finder.find_spec("argparse", None) is None
    assert finder.find_spec("numpy", [str(Path(np.__file__).parents[1])]) is None
    assert "argparse" in sys.stdlib_module_names
