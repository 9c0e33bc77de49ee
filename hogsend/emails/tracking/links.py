"""Link and open tracking in a rendered page: its links are replaced by ours, and a pixel is added."""

from __future__ import annotations

import hashlib
import hmac
import html
import re
from dataclasses import dataclass
from uuid import UUID

from pydantic import SecretStr

_ANCHOR = re.compile(r"""<a\b(?:[^>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE)
_HREF = re.compile(r"""(\shref\s*=\s*)(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)


@dataclass(frozen=True)
class Link:
    """One tracked link. `url` is where it leads; the email holds `/v1/t/c/{id}` in its place.

    Whoever knows `id` is led there, so nobody can guess it.
    """

    id: UUID
    position: int
    url: str


def track_links(page: str, email_id: UUID, base_url: str, secret: SecretStr) -> tuple[str, list[Link]]:
    """Point every http link at our redirect. Ours to Hogsend itself stay: a reader's way out is not tracked.

    `secret` keys the links' ids: who knows the email's id alone, as its sender does, cannot make them.
    """
    links: list[Link] = []

    def rewrite(href: re.Match[str]) -> str:
        url = html.unescape(href.group(2) if href.group(2) is not None else href.group(3)).strip()
        if not url.lower().startswith(("http://", "https://")) or url.startswith(f"{base_url}/v1/"):
            return href.group(0)
        link = Link(_link_id(email_id, len(links), secret), len(links), url)
        links.append(link)
        return f'{href.group(1)}"{base_url}/v1/t/c/{link.id}"'

    tracked = _ANCHOR.sub(lambda anchor: _HREF.sub(rewrite, anchor.group(0), count=1), page)
    return tracked, links


def _link_id(email_id: UUID, position: int, secret: SecretStr) -> UUID:
    key = secret.get_secret_value().encode()
    digest = hmac.new(key, b"link:%b:%d" % (email_id.bytes, position), hashlib.sha256).digest()
    return UUID(bytes=digest[:16], version=4)


def with_pixel(page: str, url: str) -> str:
    pixel = (
        f'<img src="{url}" width="1" height="1" alt="" style="display:block;border:0;width:1px;height:1px" />'
    )
    before, end, after = page.rpartition("</body>")
    return f"{before}{pixel}{end}{after}" if end else page + pixel
