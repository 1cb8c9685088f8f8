"""An SVG file of matplotlib as an element of an HTML page, with the colors and the font of the page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

# Placeholder colors that matplotlib accepts and that occur nowhere else.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = ("#040401", "#040402", "#040403", "#040404", "#040405")
SEVERITY_COLORS = {"error": "#050501", "warning": "#050502", "info": "#050503"}
STYLE_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    **{color: f"var(--series-{number})" for number, color in enumerate(SERIES, 1)},
    **{color: f"var(--{severity})" for severity, color in SEVERITY_COLORS.items()},
}
"""The variable of the style sheet that replaces each placeholder color."""


def page_element(svg: bytes, id_prefix: str, description: str, titles: Mapping[str, str]) -> str:
    """The drawing as an SVG element without a fixed size.

    Its ids begin with ``id_prefix``, because ids are unique in a page. ``description`` is for screen readers, and
    ``titles`` maps ids of the drawing to the texts of their tooltips.
    """
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for child in [child for child in element if _local_name(child.tag) in ("metadata", "style")]:
            element.remove(child)
    for element in root.iter():
        element.tag = _local_name(element.tag)
        attributes = {_local_name(name): _restyled(value, id_prefix) for name, value in element.attrib.items()}
        if "id" in attributes:
            if attributes["id"] in titles:
                title = ElementTree.Element("title")
                title.text = titles[attributes["id"]]
                element.insert(0, title)
            attributes["id"] = id_prefix + attributes["id"]
        element.attrib.clear()
        element.attrib.update(attributes)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": description}
    return ElementTree.tostring(root, encoding="unicode")


def _local_name(name: str) -> str:
    """A name without its namespace."""
    return name.rpartition("}")[2]


def _restyled(value: str, id_prefix: str) -> str:
    """The value of an attribute with variables for colors, prefixed references, and no font family."""
    value = re.sub(r"#(0[1-5]0[1-5]0[1-5])\b", lambda match: STYLE_VARIABLES.get(match[0], match[0]), value)
    value = re.sub(r"^#(?!0)|(?<=url\()#", f"#{id_prefix}", value)
    return re.sub(r"font: ([\d.]+)px [^;]*|(font-size: [\d.]+px); font-family: [^;]*", _font_size, value)


def _font_size(match: re.Match[str]) -> str:
    return match[2] or f"font-size: {match[1]}px"
