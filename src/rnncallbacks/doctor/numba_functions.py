"""The functions of a script that Numba compiles."""

from __future__ import annotations

import ast

COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "stencil", "cfunc"}
"""Functions of Numba that compile a function."""


def numba_functions(tree: ast.Module) -> frozenset[str]:
    """The names of functions that Numba compiles: it cannot compile calls to the watcher.

    >>> sorted(numba_functions(ast.parse("@njit(cache=True)\\ndef f(): pass\\ng = numba.jit(h)")))
    ['f', 'h']
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(map(_is_compiler, node.decorator_list)):
            found.add(node.name)
        elif isinstance(node, ast.Call) and _is_compiler(node):
            found.update(one.id for one in node.args if isinstance(one, ast.Name))
    return frozenset(found)


def _is_compiler(node: ast.expr) -> bool:
    while isinstance(node, ast.Call):
        node = node.func
    return (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")) in COMPILERS
