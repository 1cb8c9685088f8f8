"""What Python 2 left in scripts: each fix is tried, and Python 3 that looks like it is left alone."""

import ast

import pytest

from rnncallbacks.doctor.crash_rules.python2 import all_leftovers, syntax_leftovers

# Line of Python 2, and the line as it is fixed.
SYNTAX = {
    "print 'iter %d, loss: %f' % (n, loss)  # every 100": "print('iter %d, loss: %f' % (n, loss))",
    'print "a",': 'print("a", end=" ")',
    "print loss": "print(loss)",
    "if verbose: print loss; n = 1": "print(loss)",
    "print >>sys.stderr, 'loss', loss": "print('loss', loss, file=sys.stderr)",
    "print '-' * 10": "print('-' * 10)",
    "raise ValueError, 'no data: %s' % path": "raise ValueError('no data: %s' % path)",
    "exec 'x = 1'": "exec('x = 1')",
    "n = 10L": "10",
    "mode = 0755": "0o755",
    "same = a <> b": "!=",
    "text = `n`": "repr(...)",
}


@pytest.mark.parametrize("line", SYNTAX)
def test_a_line_of_python_2(line):
    if ">>" not in line:  # which fails when it is run
        with pytest.raises(SyntaxError):
            ast.parse(line)
    (found,) = syntax_leftovers(f"x = 1\n{line}\n")
    assert (found.line, found.fix) == (2, SYNTAX[line])
    if "(" in found.fix and "..." not in found.fix:
        ast.parse(found.fix)


def test_except_with_a_comma():
    (found,) = syntax_leftovers("try:\n    pass\nexcept (IOError, OSError), e:\n    pass\n")
    assert (found.line, found.fix) == (3, "except (IOError, OSError) as e:")


HARMLESS = '''
"""print this, and except IOError, e: too"""
print("loss", loss)
print ("loss"), 3
print
log = print
log = {"a": print}
blueprint = 1
show(print, 3)
self.print = 2
# print 'a comment'
n = 0 + 00 + 0.5 + 10_000 + 0x1L if False else 1
except_names = "except A, b:"
'''.replace("0x1L", "0x1")


def test_python_3_is_left_alone():
    ast.parse(HARMLESS)
    assert syntax_leftovers(HARMLESS) == []
    assert all_leftovers("for i in range(3):\n    my.xrange(i)\n") == []


def test_names_methods_and_modules():
    text = "import cPickle as pickle\nfor k, v in d.iteritems():\n    if not e.has_key(k):\n        n = xrange(3)\n"
    assert [(one.line, one.fix) for one in all_leftovers(text)] == [
        (1, "import pickle"),
        (2, "d.items()"),
        (3, "key in d"),
        (4, "range"),
    ]


def test_a_text_that_cannot_be_read_as_tokens():
    assert [one.line for one in syntax_leftovers("x = (\nprint 'a'\n")] == [2]
    assert [one.found for one in syntax_leftovers("if x:\n  \ty = 1\n")] == ["an indentation of spaces and tabs"]
