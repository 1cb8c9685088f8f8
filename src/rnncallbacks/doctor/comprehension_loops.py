"""Comprehensions that train, such as ``losses = [net.step(x, y) for x, y in data]``, written as loops."""

from __future__ import annotations

import ast
import builtins

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def unfold_comprehensions(tree: ast.Module) -> ast.Module:
    """Replace comprehensions that call a function for each item by loops, which can be watched.

    They are those that a statement assigns, returns or evaluates, alone or as the one argument of a call. A
    comprehension with a condition stays, and so does one through a literal or through what the statement assigns, as
    the parameters of an update. So does one with a variable that its function or module uses elsewhere, because a loop
    assigns it there.

    Example
    -------
    >>> print(ast.unparse(unfold_comprehensions(ast.parse("mean = np.mean([step(x) for x in data])"))))
    __doctor_items_1__ = []
    for x in data:
        __doctor_items_1__.append(step(x))
    mean = np.mean(__doctor_items_1__)
    """
    unfolded: ast.Module = _Unfolding(tree).visit(tree)
    return ast.fix_missing_locations(unfolded)


class _Unfolding(ast.NodeTransformer):
    def __init__(self, tree: ast.Module) -> None:
        self._scope: ast.AST | None = tree
        imports = [one for one in ast.walk(tree) if isinstance(one, ast.Import)]
        self._modules = {(one.asname or one.name).split(".")[0] for found in imports for one in found.names}
        self._count = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._inside(node, node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node, None)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def _inside(self, node: ast.AST, scope: ast.AST | None) -> ast.AST:
        self._scope, outer = scope, self._scope
        self.generic_visit(node)
        self._scope = outer
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        return self._unfolded(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        return self._unfolded(node)

    def visit_Return(self, node: ast.Return) -> ast.AST | list[ast.stmt]:
        return self._unfolded(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        return self._unfolded(node)

    def _unfolded(self, node: ast.Assign | ast.AugAssign | ast.Return | ast.Expr) -> ast.AST | list[ast.stmt]:
        """A list, its items added one by one, and the statement with this list; or the statement alone."""
        value = node.value
        call = value if isinstance(value, ast.Call) and len(value.args) == 1 and not value.keywords else None
        found = call.args[0] if call is not None else value
        lazy = isinstance(found, ast.GeneratorExp) and call is not None and ast.unparse(call.func) == "sum"
        if not isinstance(found, ast.ListComp | ast.GeneratorExp) or not (lazy or isinstance(found, ast.ListComp)):
            return node
        targets = node.targets if isinstance(node, ast.Assign) else []
        changed = {name for one in targets for name in _names_in(one)}
        if not self._calls_for_each(found) or changed & _names_in(found.generators[0].iter):
            return node
        self._count += 1
        name = f"__doctor_items_{self._count}__"
        (through,) = found.generators
        add = ast.Call(ast.Attribute(ast.Name(name, ast.Load()), "append", ast.Load()), [found.elt], [])
        loop = ast.For(through.target, through.iter, [ast.Expr(add)], [], lineno=node.lineno)
        begin = ast.Assign([ast.Name(name, ast.Store())], ast.List([], ast.Load()), lineno=node.lineno)
        items = ast.Name(name, ast.Load())
        if call is not None:
            call.args[0] = items
        else:
            node.value = items
        return [ast.copy_location(begin, node), ast.copy_location(loop, node), node]

    def _calls_for_each(self, found: ast.ListComp | ast.GeneratorExp) -> bool:
        through, inner = found.generators[0], list(ast.walk(found.elt))
        if len(found.generators) > 1 or through.ifs or through.is_async or self._scope is None:
            return False
        if isinstance(through.iter, ast.Tuple | ast.List):
            return False
        if any(isinstance(one, ast.Lambda | ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) for one in inner):
            return False
        function = found.elt.func if isinstance(found.elt, ast.Call) else None
        root = function
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or root.id in self._modules or hasattr(builtins, root.id):
            return False
        return not _used_in(self._scope, _names_in(through.target))


def _names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _used_in(node: ast.AST, names: set[str]) -> bool:
    """Whether code uses some names, other than as variables of comprehensions."""
    if isinstance(node, COMPREHENSIONS):
        names = names - {name for one in node.generators for name in _names_in(one.target)}
    if isinstance(node, ast.Name | ast.arg):
        return (node.id if isinstance(node, ast.Name) else node.arg) in names
    if isinstance(node, ast.Global | ast.Nonlocal):
        return bool(names & {*node.names})
    return bool(names) and any(_used_in(child, names) for child in ast.iter_child_nodes(node))
