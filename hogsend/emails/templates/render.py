"""Email templates: found, described, and rendered to a subject, an HTML page and a plain text.

A template is one file, `<key>.mjml.j2`: Jinja2 that writes MJML, below a few lines that describe it:

    ---
    name: Welcome
    subject: Welcome, {{ contact.properties.first_name | default("friend") }}
    category: onboarding
    preview: Three things to do first.
    ---
    {% extends "_layout.mjml.j2" %}

`<key>.txt.j2` beside it writes the text part; without it the text is derived from the page. Names that begin
with `_` are layouts and parts, not templates.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import css_inline
import jinja2
import mrml

import hogsend
from hogsend.emails.templates.jinja import (
    FrontMatter,
    FrontMatterError,
    RenderError,
    make_environment,
    place_of,
    split_front_matter,
    variables_of,
)
from hogsend.emails.templates.plain_text import plain_text
from hogsend.errors import InvalidInput
from hogsend.settings import SettingsError

SUFFIX = ".mjml.j2"
TEXT_SUFFIX = ".txt.j2"
_UNKNOWN_TAG = re.compile(r"<(mj-[a-z-]+)")

# No fonts are fetched because a common one is named: that would tell their host who reads what.
_options = mrml.RenderOptions(fonts={})
_inliner = css_inline.CSSInliner(keep_style_tags=True, load_remote_stylesheets=False)


class TemplateNotFound(InvalidInput):
    """No template has this key."""

    def __init__(self, key: str, near: list[str]) -> None:
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__("template", f"Template {key} not found.{hint}", code="TEMPLATE_NOT_FOUND")
        self.key = key


class TemplatesError(SettingsError):
    """Templates that cannot be used, found when they were loaded. `problems` holds one sentence each."""


@dataclass(frozen=True)
class Template:
    """What is known of a template without rendering it. `variables` are dotted names that it asks for."""

    key: str
    name: str
    subject: str
    category: str | None
    description: str
    preview: str
    path: Path
    updated_at: datetime
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Rendered:
    """One email's words. Links are still the author's own."""

    subject: str
    preview: str
    html: str
    text: str


@dataclass(frozen=True)
class _Entry:
    template: Template
    stamp: int
    has_text: bool
    subject: jinja2.Template
    preview: jinja2.Template


class Templates:
    """Every template below some folders. A changed file is read again; of two with one key, the first wins."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._environment = make_environment(folders)
        self._entries: dict[str, _Entry] = {}

    @classmethod
    def load(cls, paths: Iterable[Path]) -> Templates:
        """Read every template. Raises `TemplatesError` that lists every one that cannot be used.

        A relative path is looked for in the current directory, then beside the installed package.
        """
        problems: list[str] = []
        folders: list[Path] = []
        for path in paths:
            folder = _located(path)
            if folder is None:
                problems.append(f"HOGSEND_TEMPLATES: there is no folder {path}")
            else:
                folders.append(folder)
        templates = cls(folders)
        for key, path in templates._found().items():
            try:
                templates._entries[key] = templates._read(key, path)
            except RenderError as error:
                problems.append(error.message)
        if problems:
            raise TemplatesError(problems)
        return templates

    def keys(self) -> list[str]:
        """Every key, sorted."""
        return sorted(self._entries)

    def all(self) -> list[Template]:
        """Every template, by key."""
        return [self.get(key) for key in self.keys()]

    def categories(self) -> list[str]:
        """Every category that a reader can choose not to receive."""
        named = {entry.template.category for entry in self._entries.values()}
        return sorted(category for category in named if category and category != "transactional")

    def get(self, key: str) -> Template:
        """Raises `TemplateNotFound`, or `RenderError` where the file was changed into one that is no template."""
        return self._entry(key).template

    def render(self, key: str, variables: Mapping[str, Any]) -> Rendered:
        """Write one email. Pure CPU, about two milliseconds.

        Raises `TemplateNotFound`, or `RenderError` that names the template, the line and the variable.
        """
        entry = self._entry(key)
        given = dict(variables)
        given["subject"] = subject = _line(entry, "subject", entry.subject, given)
        given["preview"] = preview = _line(entry, "preview", entry.preview, given)
        html = self._html(key, given)
        if entry.has_text:
            text = self._file(key, key + TEXT_SUFFIX, given).strip() + "\n"
        else:
            text = plain_text(html)
        return Rendered(subject, preview, html, text)

    def _html(self, key: str, variables: Mapping[str, Any]) -> str:
        source = self._file(key, key + SUFFIX, variables).strip()
        try:
            page: str = mrml.to_html(source, None, _options).content
        except OSError as error:
            raise RenderError(key, f"what it writes is not MJML: {error}") from error
        unknown = _UNKNOWN_TAG.search(page)
        if unknown is not None:
            raise RenderError(key, f"MJML has no <{unknown.group(1)}> there")
        inlined: str = _inliner.inline(page)
        return inlined

    def _file(self, key: str, name: str, variables: Mapping[str, Any]) -> str:
        try:
            return self._environment.get_template(name).render(variables)
        except Exception as error:
            # What an author wrote can raise anything; the send that asked for it must hear one thing.
            raise self._error(key, error) from error

    def _error(self, key: str, error: Exception) -> RenderError:
        if isinstance(error, FrontMatterError):
            return RenderError(key, error.reason, error.line)
        files = {str(path): path for folder in self._folders for path in folder.rglob("*.j2")}
        place = place_of(error, files)
        return RenderError(key, place.what, place.line, place.file.name if place.file else None)

    def _entry(self, key: str) -> _Entry:
        entry = self._entries.get(key)
        path = entry.template.path if entry is not None else self._found().get(key)
        if path is None or not path.is_file():
            self._entries.pop(key, None)
            raise TemplateNotFound(key, difflib.get_close_matches(key, self.keys(), n=2))
        if entry is None or _stamp(path) != entry.stamp:
            entry = self._entries[key] = self._read(key, path)
        return entry

    def _read(self, key: str, path: Path) -> _Entry:
        try:
            front, _ = split_front_matter(path.read_text(encoding="utf-8"))
            subject = _required_subject(front)
            self._environment.get_template(key + SUFFIX)
            compiled = [self._environment.from_string(line) for line in (subject, front.get("preview", ""))]
            variables = variables_of(self._environment, key + SUFFIX, subject, front.get("preview", ""))
        except (FrontMatterError, jinja2.TemplateError, UnicodeDecodeError) as error:
            raise self._error(key, error) from error
        template = Template(
            key=key,
            name=front.get("name") or key.replace("-", " ").capitalize(),
            subject=subject,
            category=front.get("category") or None,
            description=front.get("description", ""),
            preview=front.get("preview", ""),
            path=path,
            updated_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            variables=variables,
        )
        text = path.with_name(path.name.removesuffix(SUFFIX) + TEXT_SUFFIX)
        return _Entry(template, _stamp(path), text.is_file(), *compiled)

    def _found(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in self._folders:
            for path in sorted(folder.rglob(f"*{SUFFIX}")):
                relative = path.relative_to(folder)
                if not any(part.startswith(("_", ".")) for part in relative.parts):
                    found.setdefault(relative.as_posix().removesuffix(SUFFIX), path)
        return found


def _line(entry: _Entry, what: str, line: jinja2.Template, variables: Mapping[str, Any]) -> str:
    """The subject or the preview: one line, whatever its variables hold."""
    try:
        return " ".join(line.render(variables).split())
    except Exception as error:
        source: str = getattr(entry.template, what)
        reason = place_of(error, {}, source).what
        raise RenderError(entry.template.key, f"{what}: {reason}") from error


def _required_subject(front: FrontMatter) -> str:
    if not front.get("subject"):
        raise FrontMatterError("its first lines must give a subject, between two lines of ---", 1)
    return front["subject"]


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


def _located(path: Path) -> Path | None:
    installed = Path(hogsend.__file__).parent.parent / path
    return next((folder.resolve() for folder in (path, installed) if folder.is_dir()), None)
