"""Formulas as MathML, which browsers render themselves: the pages load no script for them.

A Sphinx extension; ``html_math_renderer = "mathml"`` selects it.
"""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert


def _inline(self: Any, node: Any) -> None:
    from docutils.nodes import SkipNode

    self.body.append(convert(node.astext()))
    raise SkipNode


def _block(self: Any, node: Any) -> None:
    from docutils.nodes import SkipNode

    self.body.append(self.starttag(node, "div"))
    self.body.append(convert(node.astext(), display="block"))
    self.body.append("</div>\n")
    raise SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
