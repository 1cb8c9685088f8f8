"""Scripts that fail, as people find them on the network, and the advice on each."""

import json
import re
import sys
import textwrap

import pytest

from rnncallbacks.doctor.crash_advice import advice_on
from rnncallbacks.doctor.sandbox import Sandbox, ScratchFolder
from rnncallbacks.doctor.script_source import read_script


@pytest.fixture
def fail(tmp_path, monkeypatch):
    """The advice on a script that is run, and its path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["script.py"])

    def run(text, name="script.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        source = read_script(path)
        try:
            code = compile(source.text, str(path), "exec")
            exec(code, {"__name__": "__main__", "__file__": str(path)})
        except BaseException as error:
            return advice_on(error, source)
        raise AssertionError("the script did not fail")

    return run


# The script's lines, the line that is named, the cause, and the fix.
CASES = [
    ("import numpy as np\nx = np.zeros(3, dtype=np.float)", 2, "no np.float", "write float"),
    ("import numpy as np\nbest = np.Inf", 2, "no np.Inf", "write np.inf"),
    ("import numpy as np\nx = np.product([2, 3])", 2, "no np.product", "write np.prod"),
    ("import numpy as np\nx = np.in1d([1], [1])", 2, "no np.in1d", "write np.isin"),
    ("from numpy import float_", 1, "no float_", "write np.float64"),
    ("import numpy as np\nx = np.zeros(2)\nx.itemset(0, 1)", 3, r"no \.itemset", "write a[index] = value"),
    (
        "import numpy as np\nsmooth_loss = np.array([[1.5]])\nprint('loss: %f' % (smooth_loss,))",
        3,
        r"smooth_loss is an array of shape \(1, 1\)",
        "write smooth_loss.item(), here",
    ),
    (
        "import numpy as np\nclass Net: pass\nnet = Net()\nnet.loss = np.ones((1, 1))\nx = float(net.loss)",
        5,
        r"net.loss is an array of shape \(1, 1\)",
        "write net.loss.item()",
    ),
    (
        "import numpy as np\nlosses = np.ones(4)\nx = float(losses)",
        3,
        "an array of 4 numbers",
        "losses.mean(), losses.sum()",
    ),
    (
        "import numpy as np\ndY = np.ones((2, 3))\nloss = float(np.dot(dY.T, dY) / 3)",
        3,
        r"np.dot\(dY.T, dY\) / 3 is an array",
        "np.sum(dY ** 2)",
    ),
    (
        "import numpy as np\nw = np.ones((2, 3))\nloss = 1 + float(w.mean(axis=0))",
        3,
        r"w.mean\(axis=0\) is an array",
        "(w.mean(axis=0)).item()",
    ),
    ("raise TypeError('Calling np.sum(generator) is deprecated.')", 1, "the items of a generator", "write sum(...)"),
    ("import numpy as np\nx = np.vstack(x for x in [[1], [2]])", 2, "the items of a generator", "write a list"),
    ("import numpy as np\nx = np.array([[1, 2], [3]])", 2, "different lengths", "dtype=object"),
    (
        "import numpy as np\nx = np.zeros(3)\ny = np.ones((1, 1, 1))\nx[0] = [1, 2]",
        4,
        "set to several numbers",
        "give it one number",
    ),
    ("data = open('input.txt').read()", 1, "expects the file input.txt in ", "put the file there"),
    ("import numpy\nx = numpy.loadtxt('x.csv')", 2, "expects the file x.csv in ", "put the file there"),
    (
        "import sys\ndata = open(sys.argv[1]).read()",
        2,
        "arguments from its command line",
        "rnncallbacks doctor SCRIPT A",
    ),
    ("import sys\nname, path = sys.argv", 2, "arguments from its command line", "rnncallbacks doctor SCRIPT A"),
    (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('data')\np.parse_args()",
        4,
        "did not accept its arguments: the following arguments are required: data",
        "rnncallbacks doctor SCRIPT A",
    ),
    ("import sys\nn = int(sys.stdin.readline())", 2, "reads its standard input", "from a file"),
    ("import sys\nsys.exit(3)", 2, "ended itself before a training loop", "arguments or data"),
    ("import no_such_module_here", 1, "not installed for this Python", "pip install no_such_module_here"),
    ("import cPickle", 1, "no module cPickle", "import pickle"),
    ("from collections import Mapping", 1, "is in collections.abc", "from collections.abc import Mapping"),
    ("from itertools import izip", 1, "no izip", "write zip"),
    ("for i in xrange(3):\n    pass", 1, "xrange exists only in Python 2", "write range"),
    ("x = 1\nlearning_rate = 2\ny = learning_rat", 3, "not defined here", "did you mean 'learning_rate'"),
    ("d = {}\nd.iteritems()", 2, r"\.iteritems exists only in Python 2", r"write d.items()"),
    ("import time\nt = time.clock()", 2, "no longer has time.clock", "write time.perf_counter"),
    ("import sys\nprint >>sys.stderr, 'a'", 2, "print >>", "write print(..., file=...)"),
    ("d = {'a': 1}\nd.keys()[0]", 2, r"dict.keys\(\) does not return a list", "write list(...)"),
    ("import random\nrandom.shuffle(range(3))", 2, r"range\(\) does not return a list", "write list(...)"),
    ("n = 5\nx = [0] * (n / 2)", 2, "/ gives a float", "write // in place of /"),
    ("n = 10 / 2\nx = 1\nfor i in range(n):\n    pass", 3, "n is the float 5.0", "write // in line 1: n = 10 / 2"),
    ("import numpy as np\nn = 1.0\nx = np.zeros(3)[n]", 3, "n is the float 1.0", "write int(n)"),
    (
        "import pickle\nwith open('a.pkl', 'w') as f:\n    pickle.dump([1], f)",
        3,
        "open in text mode",
        "'wb' or 'rb'",
    ),
    ("import numpy as np\nx = np.array([300]).astype('uint8')\nx += 300", 3, "does not fit into the dtype", "np.int64"),
    (
        "import numpy as np\np = np.array([np.nan, 1.0])\nnp.random.choice(2, p=p)",
        3,
        "p is not finite: the training has diverged",
        "learning rate",
    ),
]


@pytest.mark.parametrize(("text", "line", "cause", "fix"), CASES, ids=[case[0].splitlines()[-1] for case in CASES])
def test_an_error_is_explained(fail, tmp_path, text, line, cause, fix):
    advice = fail(text)
    assert advice.frames[-1].where == f"{tmp_path / 'script.py'}:{line}"
    assert advice.frames[-1].source == text.splitlines()[line - 1].strip()
    assert re.search(cause, advice.cause), advice.cause
    assert fix in advice.fix
    assert len(advice.lines()) >= 4


def test_a_script_of_python_2(fail):
    advice = fail("x = 1\nprint 'a'\nfor i in xrange(3):\n    print i\n")
    assert advice.cause == "the script is written for Python 2"
    assert advice.fix.splitlines() == [
        "line 2: print is a statement of Python 2: print('a')",
        "line 3: xrange(): range",
        "line 4: print is a statement of Python 2: print(i)",
    ]
    assert advice.frames[-1].source == "print 'a'"


def test_mixed_tabs(fail):
    advice = fail("if True:\n        x = 1\n\ty = 2\n")
    assert advice.error.startswith("TabError")
    assert advice.cause == "tabs and spaces are mixed in the indentation"


def test_a_syntax_error_of_its_own(fail):
    advice = fail("x = (1,\ny = 2\n")
    assert advice.cause.startswith("Python cannot parse this line: ")


def test_an_unknown_error_shows_the_open_calls(fail, tmp_path):
    (tmp_path / "layers.py").write_text("def forward(x):\n    return x.shape[7]\n")
    sys.path.insert(0, str(tmp_path))
    try:
        advice = fail(
            "import numpy as np\nimport layers\n\ndef step(x):\n    return layers.forward(x)\n\nstep(np.ones(3))\n"
        )
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("layers", None)
    assert advice.cause == ""
    assert advice.lines() == [
        f"{tmp_path / 'script.py'}:7  step(np.ones(3))",
        f"{tmp_path / 'script.py'}:5  return layers.forward(x)",
        "layers.py:2  return x.shape[7]",
        "IndexError: tuple index out of range",
    ]


def test_a_file_beside_the_script(fail, tmp_path, monkeypatch):
    (tmp_path / "input.txt").write_text("text")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    advice = fail("open('input.txt')")
    assert "there is one next to the script" in advice.cause
    assert advice.fix == f"run it there: cd {tmp_path}"


def test_a_file_of_a_similar_name(fail, tmp_path):
    (tmp_path / "input.text").write_text("text")
    assert "did you mean 'input.text'?" in fail("open('input.txt')").fix


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "import urllib.request\nurllib.request.urlretrieve('http://example.org/input.txt', 'input.txt')",
            "the network",
        ),
        ("import subprocess\nsubprocess.run(['ls'])", "other processes"),
        (
            "try:\n    import os\n    os.fork()\nexcept OSError as error:\n    raise RuntimeError('no') from error",
            "processes",
        ),
    ],
)
def test_what_the_sandbox_refused(fail, text, cause):
    with ScratchFolder() as scratch, Sandbox(scratch.new_place()):
        advice = fail(text)
    assert cause in advice.cause
    assert advice.fix
    scratch.remove()


def test_a_question_of_the_script(fail):
    with ScratchFolder() as scratch, Sandbox(scratch.new_place()):
        advice = fail("name = input('which file? ')")
    assert "waits for an answer from the keyboard" in advice.cause
    scratch.remove()


def test_a_notebook(fail, tmp_path):
    cells = [{"cell_type": "code", "source": one} for one in ("import numpy as np", "x = 1\ny = np.float(x)")]
    advice = fail(json.dumps({"cells": cells}), "rnn.ipynb")
    assert advice.frames[-1].where == f"{tmp_path / 'rnn.ipynb'}, code cell 2, line 2"
    assert advice.frames[-1].source == "y = np.float(x)"


def test_objects_that_fail_when_they_are_looked_at(fail):
    advice = fail("class Odd:\n    @property\n    def __dict__(self):\n        1 / 0\nodd = Odd()\nx = [1][odd.x / 2]")
    assert advice.error.startswith("AttributeError")


def test_the_doctor_says_that_arguments_are_missing(tmp_path, monkeypatch, run_python):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('data')\np.parse_args()\n"
        "for i in range(3):\n    x = i\n"
    )
    done = run_python("from rnncallbacks.cli import main; main()", "doctor", "script.py")
    assert done.returncode == 2
    assert "the script did not accept its arguments" in done.stdout
