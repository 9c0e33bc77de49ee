"""The text part says what the page shows."""

from __future__ import annotations

import pytest

from hogsend.emails.templates.plain_text import plain_text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>One</p><p>Two<br>Three</p>", "One\n\nTwo\nThree"),
        ('<a href="https://a.example/?a=1&amp;b=2">words</a>', "words: https://a.example/?a=1&b=2"),
        ('<a href="https://a.example">https://a.example</a>', "https://a.example"),
        ('<a href="mailto:a@example.com">a@example.com</a>', "a@example.com"),
        ('<a href="#top">up</a>', "up"),
        ('<a href="https://a.example"><img src="x.png" alt="Logo"></a>', "Logo: https://a.example"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
        ('<div style="display: none">preview</div><p>shown</p>', "shown"),
        ("<head><title>t</title><style>p{}</style></head><body><p>shown</p></body>", "shown"),
        ("<!--[if mso]><p>outlook</p><![endif]--><p>shown</p>", "shown"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\n\nc"),
        ("<p>a &lt;b&gt; &amp; c&nbsp;d</p>", "a <b> & c d"),
        ("<p>unclosed <b>bold", "unclosed bold"),
    ],
)
def test_a_page_as_text(page: str, text: str) -> None:
    assert plain_text(page) == text + "\n"
