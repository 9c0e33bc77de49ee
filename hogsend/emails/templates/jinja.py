"""Jinja2 environment of templates: sandboxed, strict about names, and clear about where something is wrong."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hogsend.errors import HogsendError

FRONT_MATTER_KEYS = ("name", "subject", "category", "preview", "description")
GIVEN = ("subject", "preview", "unsubscribe_url", "preferences_url", "base_url", "self", "super", "caller")

# Characters that no XML document may hold: MJML is one, and properties come from outside.
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

FrontMatter = dict[str, str]


class RenderError(HogsendError):
    """A template could not be rendered. `message` names it, and the line and the variable where there is one."""

    def __init__(self, key: str, reason: str, line: int | None = None, file: str | None = None) -> None:
        where = f", line {line}" if line is not None else ""
        if file is not None and file.split(".")[0] != key.rpartition("/")[2]:
            where = f", line {line} of {file}"
        self.message = f"Template {key}{where}: {reason}"
        super().__init__(self.message)
        self.key = key
        self.line = line


class FrontMatterError(Exception):
    """The lines that describe a template are wrong at `line`."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True)
class Place:
    """Where and how rendering went wrong."""

    what: str
    line: int | None = None
    file: Path | None = None


class _Environment(ImmutableSandboxedEnvironment):
    """A name in a mapping outranks a method of dict: `props.items` is the property called items."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class _Loader(jinja2.FileSystemLoader):
    """Leaves the front matter out, and keeps the numbers of lines."""

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        source, path, current = super().get_source(environment, template)
        _, body = split_front_matter(source)
        return body, path, current


def make_environment(folders: list[Path]) -> jinja2.Environment:
    """The one environment of some folders. It caches what it compiles, and looks whether a file changed."""
    return _Environment(
        loader=_Loader([str(folder) for folder in folders]),
        autoescape=lambda name: name is not None and not name.endswith(".txt.j2"),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=True,
        cache_size=1000,
    )


def _finalize(value: Any) -> Any:
    if type(value) is str and _NOT_XML.search(value):
        return _NOT_XML.sub("", value)
    return value


def split_front_matter(source: str) -> tuple[FrontMatter, str]:
    """What describes the template, and the rest on the lines it was on. Raises `FrontMatterError`."""
    lines = source.split("\n")
    if lines[0].strip() != "---":
        return {}, source
    front: FrontMatter = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.strip() == "---":
            return front, "\n" * number + "\n".join(lines[number:])
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon or key.strip() not in FRONT_MATTER_KEYS:
            allowed = ", ".join(FRONT_MATTER_KEYS)
            raise FrontMatterError(f"expected `key: value` with one of {allowed}", number)
        front[key.strip()] = _unquoted(value.strip())
    raise FrontMatterError("the first --- is not closed by a second", 1)


def _unquoted(value: str) -> str:
    """A value that stands in quotes as a whole loses them, as in YAML."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" and value[0] not in value[1:-1]:
        return value[1:-1]
    return value


def variables_of(environment: jinja2.Environment, name: str, *lines: str) -> tuple[str, ...]:
    """The dotted names that a template asks its caller for, with those of its layouts and parts."""
    found: set[str] = set()
    given = set(GIVEN)
    waiting, seen = [name], {name}
    sources = list(lines)
    while waiting:
        assert environment.loader is not None
        source, _, _ = environment.loader.get_source(environment, waiting.pop())
        sources.append(source)
        for referenced in meta.find_referenced_templates(environment.parse(source)):
            if referenced is not None and referenced not in seen:
                seen.add(referenced)
                waiting.append(referenced)
    for source in sources:
        tree = environment.parse(source)
        asked = meta.find_undeclared_variables(tree)
        found |= {dotted for dotted in _dotted(tree) if dotted.split(".")[0] in asked}
        # A layout's assignments are seen in the blocks of what extends it.
        given |= {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
        given |= {node.target for node in tree.find_all(nodes.Import)}
    found = {dotted for dotted in found if dotted.split(".")[0] not in given}
    longest = {n for n in found if not any(other.startswith(n + ".") for other in found)}
    return tuple(sorted(longest))


def _dotted(tree: nodes.Template) -> set[str]:
    found: set[str] = set()
    for node in tree.find_all((nodes.Name, nodes.Getattr)):
        path: list[str] = []
        current: nodes.Node = node
        while isinstance(current, nodes.Getattr):
            path.append(current.attr)
            current = current.node
        if isinstance(current, nodes.Name):
            found.add(".".join([current.name, *reversed(path)]))
    return found


def place_of(error: BaseException, files: Mapping[str, Path], source: str | None = None) -> Place:
    """What went wrong in words, and on which line of which file. `source` is the text where there is no file."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return Place(f"{error.message}", error.lineno, files.get(error.filename or ""))
    if isinstance(error, jinja2.TemplateNotFound):
        return Place(f"it uses {error.name}, which does not exist")
    line, file = None, None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename in files:
            line, file = frame.lineno, files[frame.filename]
        elif source is not None and frame.filename == "<template>":
            line = frame.lineno
    if file is not None:
        source = file.read_text(encoding="utf-8")
    if isinstance(error, jinja2.UndefinedError):
        what, line = _undefined(error, (source or "").split("\n"), line)
        return Place(what, line, file)
    return Place(f"{type(error).__name__}: {error}", line, file)


def _undefined(error: jinja2.UndefinedError, lines: list[str], line: int | None) -> tuple[str, int | None]:
    """`props.plan is not set`: the name as the author wrote it, and the line on which it stands.

    Jinja counts from where a stretch of output begins, so the name is looked for from there on.
    """
    quoted = re.findall(r"'([^']*)'", error.message or "")
    if not quoted:
        return str(error), line
    name = quoted[-1]
    for number, text in enumerate(lines[(line or 1) - 1 :], start=line or 1):
        written = re.search(rf"\{{[{{%].*?(?<![\w.])([\w.]*\b{re.escape(name)})\b", text)
        if written is not None:
            name, line = written.group(1), number
            break
    return f"{name} is not set; give it, or write `{name} | default(...)`", line
