"""Relay connections over declared collections: `edges {cursor node} nodes pageInfo totalCount`, read lazily."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import strawberry
from sqlalchemy import RowMapping
from strawberry.annotation import StrawberryAnnotation
from strawberry.dataloader import DataLoader
from strawberry.extensions import FieldExtension
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from hogsend.access.caller import Scope
from hogsend.graphql.context import Context, Info
from hogsend.graphql.errors import problem
from hogsend.graphql.fields import COST, field, root_description, root_metadata
from hogsend.graphql.node import TYPES
from hogsend.storage.collections import PARENT, Selection, Window, count_statement, page_statement
from hogsend.storage.cursors import Cursor, decode

T = TypeVar("T")

DEFAULT_PAGE = 50
HIGHEST_OFFSET = 2**31 - 1
CONNECTION = "connection"


@dataclass(frozen=True)
class Listed:
    """A list that is in memory already, in order. `key` is unique within it."""

    name: str
    items: Sequence[Any]
    key: Callable[[Any], str]


@dataclass(frozen=True)
class Entry:
    """One node of a page and its cursor."""

    node: Any
    cursor: str


@dataclass(frozen=True)
class Page:
    entries: Sequence[Entry]
    has_next: bool
    has_previous: bool


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether there is more after this page.")
    has_previous_page: bool = strawberry.field(description="Whether there is more before this page.")
    start_cursor: str | None = strawberry.field(description="Cursor of the page's first entry.")
    end_cursor: str | None = strawberry.field(description="Cursor of the page's last entry.")


@strawberry.type(description="One entry of a page.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(
        description="The entry's place in the list; give it to `after` or `before`."
    )
    node: T = strawberry.field(description="The entry itself.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    load: strawberry.Private[Callable[[], Awaitable[Page]]]
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @field("The entries with their cursors.")
    async def edges(self) -> list[Edge[T]]:
        return [Edge(cursor=entry.cursor, node=entry.node) for entry in (await self.load()).entries]

    @field("The entries alone.")
    async def nodes(self) -> list[T]:
        return [entry.node for entry in (await self.load()).entries]

    @field("Where this page lies in its list.")
    async def page_info(self) -> PageInfo:
        page = await self.load()
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=page.entries[0].cursor if page.entries else None,
            end_cursor=page.entries[-1].cursor if page.entries else None,
        )

    @field("How many entries the whole list has; counted only when asked for.")
    async def total_count(self) -> int:
        return await self.count()


@dataclass(frozen=True)
class Paging:
    """The paging arguments as given, checked."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None
    offset: int | None = None

    def check(self, longest: int) -> None:
        """Raises a BAD_REQUEST that names the argument."""
        if self.first is not None and self.last is not None:
            raise problem("Give `first` or `last`, not both")
        for name, value in (("first", self.first), ("last", self.last)):
            if value is not None and not 0 <= value <= longest:
                raise problem(f"`{name}` must be between 0 and {longest}")
        if self.offset is not None and (self.offset < 0 or self.last is not None):
            raise problem("`offset` must be 0 or more, and goes with `first`, not with `last`")

    @cached_property
    def size(self) -> int:
        given = self.last if self.last is not None else self.first
        return DEFAULT_PAGE if given is None else given

    def window(self, place: Callable[[str], Cursor]) -> Window:
        return Window(
            size=self.size,
            backward=self.last is not None,
            after=None if self.after is None else place(self.after),
            before=None if self.before is None else place(self.before),
            offset=self.offset or 0,
        )

    def page(self, rows: Sequence[Any], entry: Callable[[Any], Entry]) -> Page:
        """The page that `rows` make: one more than asked for where there is more, backward ones reversed."""
        more = len(rows) > self.size
        entries = [entry(row) for row in rows[: self.size]]
        if self.last is not None:
            return Page(entries[::-1], has_next=self.before is not None, has_previous=more)
        behind = self.after is not None or bool(self.offset)
        return Page(entries, has_next=more, has_previous=behind)


def connect(context: Context, source: Selection | Listed, paging: Paging) -> Connection[Any]:
    """A connection over `source`. Nothing is read before one of its fields is resolved."""
    paging.check(context.longest_page)
    if isinstance(source, Listed):
        return _connect_listed(source, paging)
    identity = ("page", source.identity, paging)
    paging.window(source.place)  # refuses a bad cursor before anything is read
    pages: DataLoader[Any, Page] = context.loader(
        identity, lambda parents: _load_pages(context, source, paging, parents)
    )
    counts: DataLoader[Any, int] = context.loader(
        ("count", source.identity), lambda parents: _load_counts(context, source, parents)
    )
    return Connection(
        load=lambda: pages.load(source.parent),
        count=lambda: counts.load(source.parent),
    )


async def _load_pages(
    context: Context, source: Selection, paging: Paging, parents: list[Any]
) -> Sequence[Page]:
    kind = TYPES[source.collection.node]
    found: dict[Any, list[RowMapping]] = {parent: [] for parent in parents}
    if paging.size > 0:
        for row in await context.rows(page_statement(source, paging.window(source.place), parents)):
            found[row[PARENT] if source.parent_column is not None else None].append(row)

    def entry(row: RowMapping) -> Entry:
        return Entry(kind.of(row), source.cursor(row))

    return [paging.page(found[parent], entry) for parent in parents]


async def _load_counts(context: Context, source: Selection, parents: list[Any]) -> Sequence[int]:
    rows = await context.rows(count_statement(source, parents))
    if source.parent_column is None:
        return [rows[0]["count"]]
    counts = {row[PARENT]: row["count"] for row in rows}
    return [counts.get(parent, 0) for parent in parents]


def _connect_listed(source: Listed, paging: Paging) -> Connection[Any]:
    def place(text: str) -> Cursor:
        return decode(text, source.name, str, str)

    def cursor(item: Any) -> str:
        return Cursor(source.name, None, source.key(item)).encode()

    window = paging.window(place)
    keys = [source.key(item) for item in source.items]
    start = keys.index(window.after.key) + 1 if window.after and window.after.key in keys else 0
    end = keys.index(window.before.key) if window.before and window.before.key in keys else len(keys)
    within = source.items[start:end]
    rows = within[::-1] if window.backward else within[window.offset :]
    page = paging.page(rows[: window.size + 1], lambda item: Entry(item, cursor(item)))

    async def load() -> Page:
        return page

    async def count() -> int:
        return len(source.items)

    return Connection(load=load, count=count)


_ARGUMENTS: tuple[tuple[str, Any, str], ...] = (
    (
        "first",
        int | None,
        f"How many entries, from the start or after `after`; at most 100, {DEFAULT_PAGE} unless told.",
    ),
    ("after", str | None, "Only entries behind this cursor."),
    ("last", int | None, "How many entries, from the end or before `before`; at most 100."),
    ("before", str | None, "Only entries ahead of this cursor."),
    ("offset", int | None, "Skip so many entries: for paging by number. Cursors are as fast on every page."),
)


class Paged(FieldExtension):
    """Gives a field the paging arguments and the connection type, and pages the list that its resolver names."""

    def __init__(self, node: str | type) -> None:
        self.node = node

    def apply(self, field: StrawberryField) -> None:
        kind: Any = TYPES[self.node] if isinstance(self.node, str) else self.node
        field.type_annotation = StrawberryAnnotation(Connection[kind])
        present = {argument.python_name for argument in field.arguments}
        field.arguments = [
            *field.arguments,
            *(
                StrawberryArgument(
                    python_name=name,
                    graphql_name=None,
                    type_annotation=StrawberryAnnotation(kind),
                    description=description,
                    default=None,
                )
                for name, kind, description in _ARGUMENTS
                if name not in present
            ),
        ]

    async def resolve_async(
        self, next_: Callable[..., Any], source: Any, info: Info, **kwargs: Any
    ) -> Connection[Any]:
        paging = Paging(**{name: kwargs.pop(name, None) for name, _, _ in _ARGUMENTS})
        listed = next_(source, info, **kwargs)
        if inspect.isawaitable(listed):
            listed = await listed
        return connect(info.context, listed, paging)


def connection(
    node: str | type, *, description: str, scope: Scope | None = None, cost: int = 1, root: bool = False
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a list: the decorated resolver takes its filters and returns the `Selection` (or `Listed`) to page.

    `node` is the prefix of the entries' type, or the type itself where it is no `Node`. Each entry that `first`
    may return costs `cost`. A field of Query gives its `scope` too.
    """

    def declare(resolver: Callable[..., Any]) -> Any:
        is_root = root or scope is not None
        metadata = {COST: cost, CONNECTION: True} | (root_metadata(scope, cost) if is_root else {})
        return strawberry.field(
            resolver=resolver,
            description=root_description(description, scope, cost) if is_root else description,
            metadata=metadata,
            extensions=[Paged(node)],
        )

    return declare
