"""An SVG file becomes an element of a page."""

from rnncallbacks.reporting.svg import INK, page_element

FILE = f"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" version="1.1">
<metadata>who</metadata><style>* {{}}</style>
<g id="mark-1"><path id="p" style="fill: {INK}"/></g><use xlink:href="#p" clip-path="url(#c)"/>
<text style="font: 11px 'DejaVu'; fill: #112233">a</text>
<text style="font-size: 9px; font-family: 'X'">b</text></svg>"""


def test_ids_colors_and_fonts_become_those_of_the_page():
    element = page_element(FILE.encode(), "loss-", "a line", {"mark-1": "it rose"})
    assert element.startswith('<svg role="img" aria-label="a line">')
    assert '<g id="loss-mark-1"><title>it rose</title><path id="loss-p" style="fill: var(--ink)" />' in element
    assert '<use href="#loss-p" clip-path="url(#loss-c)" />' in element
    assert 'style="font-size: 11px; fill: #112233"' in element
    assert 'style="font-size: 9px"' in element
    assert "who" not in element
    assert "<style" not in element
