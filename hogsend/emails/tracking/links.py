"""Link and open tracking in a rendered page: its links are replaced by ours, and a pixel is added."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from uuid import UUID, uuid5

_ANCHOR = re.compile(r"""<a\b(?:[^>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE)
_HREF = re.compile(r"""(\shref\s*=\s*)(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)


@dataclass(frozen=True)
class Link:
    """One tracked link. `url` is where it leads; the email holds `/v1/t/c/{id}` in its place."""

    id: UUID
    position: int
    url: str


def track_links(page: str, email_id: UUID, base_url: str) -> tuple[str, list[Link]]:
    """Point every http link at our redirect. Ours to Hogsend itself stay: a reader's way out is not tracked."""
    links: list[Link] = []

    def rewrite(href: re.Match[str]) -> str:
        url = html.unescape(href.group(2) if href.group(2) is not None else href.group(3)).strip()
        if not url.lower().startswith(("http://", "https://")) or url.startswith(f"{base_url}/v1/"):
            return href.group(0)
        link = Link(uuid5(email_id, str(len(links))), len(links), url)
        links.append(link)
        return f'{href.group(1)}"{base_url}/v1/t/c/{link.id}"'

    tracked = _ANCHOR.sub(lambda anchor: _HREF.sub(rewrite, anchor.group(0), count=1), page)
    return tracked, links


def with_pixel(page: str, url: str) -> str:
    pixel = (
        f'<img src="{url}" width="1" height="1" alt="" style="display:block;border:0;width:1px;height:1px" />'
    )
    before, end, after = page.rpartition("</body>")
    return f"{before}{pixel}{end}{after}" if end else page + pixel
