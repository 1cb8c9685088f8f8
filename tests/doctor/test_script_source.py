"""Scripts in several encodings, and notebooks as several programs write them."""

import ast
import json

import pytest

from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.errors import DataError


def notebook(path, *cells, form=4):
    """A notebook with these code cells, and a text cell before each."""
    written = []
    for cell in cells:
        written.append({"cell_type": "markdown", "source": ["# A title\n", "% no magic"]})
        lines = cell.splitlines(keepends=True)
        written.append({"cell_type": "code", ("source" if form == 4 else "input"): lines, "outputs": []})
    content = {"cells": written} if form == 4 else {"worksheets": [{"cells": written}]}
    path.write_text(json.dumps(content | {"nbformat": form}))
    return path


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"x = '\xc3\xa9'\n", "x = 'é'\n"),
        (b"\xef\xbb\xbfx = 1\r\ny = 2\r\n", "x = 1\ny = 2\n"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        (b"", ""),
    ],
)
def test_encodings(tmp_path, content, text):
    path = tmp_path / "script.py"
    path.write_bytes(content)
    source = read_script(path)
    assert source.text == text
    assert str(source.location(2)) == f"{path}:2"
    assert not source.names


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("script.py", b"x = 1\ny = '\xe9'\n", "script.py:2: expected text in UTF-8"),
        ("script.py", b"# coding: klingon\n", "expected text in UTF-8 or in the encoding that is declared"),
        ("script.py", b"x = 1\0", "zero bytes"),
        ("rnn.ipynb", b"x = 1", "expected a Jupyter notebook"),
        ("rnn.ipynb", b"[1]", "expected a Jupyter notebook"),
        ("rnn.ipynb", b'{"cells": []}', "0 cells without code"),
    ],
)
def test_what_is_no_script(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_script(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "char_rnn.py").touch()
    with pytest.raises(DataError, match=r"did you mean 'char_rnn.py'\?"):
        read_script(tmp_path / "char_rn.py")
    with pytest.raises(DataError, match="got a directory"):
        read_script(tmp_path)


@pytest.mark.parametrize("form", [3, 4])
def test_a_notebook_is_its_code_cells(tmp_path, form):
    path = notebook(tmp_path / "rnn.ipynb", "import numpy as np\nx = 1", "y = x\n\nz = 1 / 0", form=form)
    source = read_script(path)
    assert source.text == "import numpy as np\nx = 1\ny = x\n\nz = 1 / 0\n"
    assert str(source.location(5)) == f"{path}, code cell 2, line 3"
    assert source.line_at(5) == "z = 1 / 0"


CELLS = {
    "%matplotlib inline\nx = 1": "pass  # %matplotlib inline\nx = 1",
    "if True:\n    !pip install numpy\n    x = 1": "if True:\n    pass  # !pip install numpy\n    x = 1",
    "x?\n?np.dot\nx.sum??": "pass  # x?\npass  # ?np.dot\npass  # x.sum??",
    "files = !ls\nname = %pwd": "files = None  # !ls\nname = None  # %pwd",
    "%%time\nx = 1": "pass  # %%time\nx = 1",
    "\n%%bash\nls | wc": "# \n# %%bash\n# ls | wc",
    "!pip install \\\n  numpy\nx = 1": "pass  # !pip install \n#   numpy\nx = 1",
    "print('%d'\n      % 3)": "print('%d'\n      % 3)",
    "x = 7 \\\n  % 3": "x = 7 \\\n  % 3",
    "text = '''\n%matplotlib\n!ls\n'''": "text = '''\n%matplotlib\n!ls\n'''",
}


@pytest.mark.parametrize("cell", CELLS)
def test_magics(tmp_path, cell):
    source = read_script(notebook(tmp_path / "rnn.ipynb", "x = 1", cell))
    assert source.text == f"x = 1\n{CELLS[cell]}\n"
    ast.parse(source.text)


def test_names_of_a_notebook(tmp_path):
    source = read_script(notebook(tmp_path / "rnn.ipynb", "display(1)\nget_ipython().run_line_magic('time', '')"))
    exec(compile(source.text, "rnn.ipynb", "exec"), dict(source.names))
    exported = tmp_path / "rnn.py"
    exported.write_text("get_ipython().magic('matplotlib inline')\nx = get_ipython().config\n")
    source = read_script(exported)
    exec(compile(source.text, "rnn.py", "exec"), dict(source.names))


# The packages around the script, its text, the name of its package, and the folder that contains it.
PACKAGES = {
    "one": (["pkg"], "from . import net\n", "pkg", "."),
    "nested": (["top", "pkg"], "from ..data import load\n", "top.pkg", "."),
    "of_one_folder_without_an_init_file": ([], "from .net import W\n", "home", ".."),
    "none_without_a_relative_import": (["pkg"], "import net\n", None, "."),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_of_a_script(tmp_path, name):
    folders, text, package, container = PACKAGES[name]
    place = tmp_path / "home"
    place.mkdir()
    for folder in folders:
        place /= folder
        place.mkdir()
        (place / "__init__.py").touch()
    (place / "train.py").write_text(text)
    expected = None if package is None else (package, (tmp_path / "home" / container).resolve())
    assert read_script(place / "train.py").package == expected
