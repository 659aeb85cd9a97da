"""HTML as values: nothing becomes markup that is not HTML already."""

from __future__ import annotations

import base64
import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from console.html import Html, document, joined, tag, text


def test_text_is_escaped_and_html_is_not() -> None:
    assert tag("p", "a < b & c", tag("b", '"'), 5, None, ["x", ["y"]]) == ("<p>a &lt; b &amp; c<b>&quot;</b>5xy</p>")
    assert joined(Html("<i>"), "<i>") == "<i>&lt;i&gt;"
    assert text("\u202eevil\x00") == "\\u202eevil\\x00"


def test_attributes() -> None:
    made = tag("a", href='"><script>', class_="x", aria_label="l", hidden=True, title=None, open=False, x=1.25, y=2.0)
    assert made == '<a href="&quot;&gt;&lt;script&gt;" class="x" aria-label="l" hidden x="1.2" y="2"></a>'
    assert tag("meta", name="a") == '<meta name="a">'


@given(st.text())
def test_whatever_a_text_is_it_opens_no_element(given: str) -> None:
    made = tag("p", given, title=given)
    assert made.count("<") == 2
    assert made.count('"') == 2


def test_the_policy_of_a_page_allows_its_style_alone() -> None:
    made = document("<t>", "p { color: red }", tag("p", "x"))
    digest = base64.b64encode(hashlib.sha256(b"p { color: red }").digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', made)
    assert f"style-src 'sha256-{digest}'" in policy.replace("&#x27;", "'")
    assert policy.startswith("default-src")
    assert "<title>&lt;t&gt;</title>" in made
