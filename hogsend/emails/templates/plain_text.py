"""Plain-text part of an email, derived from its HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SKIPPED = frozenset({"head", "style", "script", "title"})
_VOID = frozenset({"br", "hr", "img", "meta", "link", "input", "col", "area", "base", "wbr", "source"})
_BLOCKS = frozenset({"p", "div", "tr", "table", "h1", "h2", "h3", "h4", "ul", "ol", "blockquote", "section"})
_HIDDEN = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)


def plain_text(html: str) -> str:
    """What a reader of `html` sees, as lines; links stand behind their words. Hidden parts are left out."""
    reader = _Reader()
    # Nothing before the body is read, and a page's head can be most of it.
    reader.feed(html[max(html.find("<body"), 0) :])
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self._href: str | None = None
        self._link_start = 0

    @property
    def _hidden(self) -> bool:
        return any(hidden for _, hidden in self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in _VOID:
            hidden = tag in _SKIPPED or _HIDDEN.search(given.get("style") or "") is not None
            self._open.append((tag, hidden))
        if self._hidden:
            return
        if tag in _BLOCKS:
            self._parts.append("\n\n" if tag in ("p", "h1", "h2", "h3", "h4", "ul", "ol") else "\n")
        elif tag == "br":
            self._parts.append("\n")
        elif tag == "hr":
            self._parts.append("\n\n---\n\n")
        elif tag == "li":
            self._parts.append("\n- ")
        elif tag == "img":
            self._parts.append(given.get("alt") or "")
        elif tag == "a":
            self._href, self._link_start = given.get("href"), len(self._parts)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID or tag not in [name for name, _ in self._open]:
            return
        was_hidden = self._hidden
        while self._open.pop()[0] != tag:
            pass
        if was_hidden:
            return
        if tag == "a":
            self._close_link()
        elif tag in _BLOCKS:
            self._parts.append("\n\n" if tag in ("p", "h1", "h2", "h3", "h4", "ul", "ol") else "\n")
        elif tag == "td":
            self._parts.append(" ")

    def _close_link(self) -> None:
        words = "".join(self._parts[self._link_start :]).strip()
        href = (self._href or "").removeprefix("mailto:")
        self._href = None
        if href and not href.startswith("#") and href != words:
            self._parts.append(f": {href}" if words else href)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._parts.append(re.sub(r"\s+", " ", data))

    def text(self) -> str:
        lines = [re.sub(r"[ \u00a0]+", " ", line).strip() for line in "".join(self._parts).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
