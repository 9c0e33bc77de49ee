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
from hogsend.storage.collections import PARENT, PageRange, Selection, count_statement, page_statement
from hogsend.storage.cursors import Cursor, decode

T = TypeVar("T")

DEFAULT_PAGE = 50
CONNECTION = "connection"


@dataclass(frozen=True)
class InMemoryList:
    """A list that is in memory already, in order. `key` is unique within it."""

    name: str
    items: Sequence[Any]
    key: Callable[[Any], str]


@strawberry.type(
    description="Pagination info of a connection: the cursors of this page, and what lies around it."
)
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether entries follow this page.")
    has_previous_page: bool = strawberry.field(description="Whether entries precede this page.")
    start_cursor: str | None = strawberry.field(
        description="Cursor of the page's first entry; null for an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description="Cursor of the page's last entry: the next page's `after`. Null for an empty page."
    )


@strawberry.type(description="An entry of a connection and its cursor.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(
        description="Cursor of this entry, for `after` and `before` of a list in the same order."
    )
    node: T = strawberry.field(description="The entry.")


@dataclass(frozen=True)
class ConnectionPage:
    """The entries of one page, read."""

    edges: Sequence[Edge[Any]]
    has_next: bool
    has_previous: bool


@strawberry.type(description="One page of a paginated list.")
class Connection(Generic[T]):
    load: strawberry.Private[Callable[[], Awaitable[ConnectionPage]]]
    count: strawberry.Private[Callable[[], Awaitable[int]]]
    # What a planned read goes by: it pages the lists of all siblings at once.
    source: strawberry.Private[Selection | InMemoryList]
    paging: strawberry.Private[Paging]

    @field("The page's entries, each with its cursor.")
    async def edges(self) -> list[Edge[T]]:
        return [Edge(cursor=edge.cursor, node=edge.node) for edge in (await self.load()).edges]

    @field("The page's entries without cursors.")
    async def nodes(self) -> list[T]:
        return [edge.node for edge in (await self.load()).edges]

    @field("Pagination info: the page's cursors, and whether there is more.")
    async def page_info(self) -> PageInfo:
        page = await self.load()
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=page.edges[0].cursor if page.edges else None,
            end_cursor=page.edges[-1].cursor if page.edges else None,
        )

    @field("Number of entries on all pages together; counted only when selected.")
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

    def window(self, place: Callable[[str], Cursor]) -> PageRange:
        return PageRange(
            size=self.size,
            backward=self.last is not None,
            after=None if self.after is None else place(self.after),
            before=None if self.before is None else place(self.before),
            offset=self.offset or 0,
        )

    def page(self, rows: Sequence[Any], edge: Callable[[Any], Edge[Any]] | None = None) -> ConnectionPage:
        """The page that `rows` make: one more than asked for where there is more, backward ones reversed.

        Without `edge` the rows stand for themselves.
        """
        more = len(rows) > self.size
        edges = list(rows[: self.size]) if edge is None else [edge(row) for row in rows[: self.size]]
        if self.last is not None:
            return ConnectionPage(edges[::-1], has_next=self.before is not None, has_previous=more)
        behind = self.after is not None or bool(self.offset)
        return ConnectionPage(edges, has_next=more, has_previous=behind)


def connect(context: Context, source: Selection | InMemoryList, paging: Paging) -> Connection[Any]:
    """A connection over `source`. Nothing is read before one of its fields is resolved."""
    paging.check(context.longest_page)
    if isinstance(source, InMemoryList):
        return _connect_listed(source, paging)
    identity = ("page", source.identity, paging)
    paging.window(source.place)  # refuses a bad cursor before anything is read
    pages: DataLoader[Any, ConnectionPage] = context.loader(
        identity, lambda parents: _load_pages(context, source, paging, parents)
    )
    counts: DataLoader[Any, int] = context.loader(
        ("count", source.identity), lambda parents: _load_counts(context, source, parents)
    )
    return Connection(
        load=lambda: pages.load(source.parent),
        count=lambda: counts.load(source.parent),
        source=source,
        paging=paging,
    )


async def _load_pages(
    context: Context, source: Selection, paging: Paging, parents: list[Any]
) -> Sequence[ConnectionPage]:
    kind = TYPES[source.collection.node]
    found: dict[Any, list[RowMapping]] = {parent: [] for parent in parents}
    if paging.size > 0:
        for row in await context.rows(page_statement(source, paging.window(source.place), parents)):
            found[row[PARENT] if source.parent_column is not None else None].append(row)

    def edge(row: RowMapping) -> Edge[Any]:
        return Edge(cursor=source.cursor(row), node=kind.of(row))

    return [paging.page(found[parent], edge) for parent in parents]


async def _load_counts(context: Context, source: Selection, parents: list[Any]) -> Sequence[int]:
    rows = await context.rows(count_statement(source, parents))
    if source.parent_column is None:
        return [rows[0]["count"]]
    counts = {row[PARENT]: row["count"] for row in rows}
    return [counts.get(parent, 0) for parent in parents]


def _connect_listed(source: InMemoryList, paging: Paging) -> Connection[Any]:
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
    page = paging.page(rows[: window.size + 1], lambda item: Edge(cursor=cursor(item), node=item))

    async def load() -> ConnectionPage:
        return page

    async def count() -> int:
        return len(source.items)

    return Connection(load=load, count=count, source=source, paging=paging)


PAGING_ARGUMENTS: dict[str, tuple[Any, str]] = {
    "first": (
        int | None,
        f"Page size, from the start or after `after`: at most 100, {DEFAULT_PAGE} by default.",
    ),
    "after": (str | None, "Only entries after this cursor."),
    "last": (int | None, "Page size, from the end or before `before`: at most 100."),
    "before": (str | None, "Only entries before this cursor."),
    "offset": (
        int | None,
        "Number of entries to skip, for numbered pages. Unlike cursors, it gets slower with every page.",
    ),
}


def argument(name: str, kind: Any, description: str, default: Any = None) -> StrawberryArgument:
    """An argument of a field, added where no signature declares it."""
    return StrawberryArgument(
        python_name=name,
        graphql_name=None,
        type_annotation=StrawberryAnnotation(kind),
        description=description,
        default=default,
    )


class Paged(FieldExtension):
    """Gives a field the paging arguments and the connection type, and pages the list that its resolver names."""

    def __init__(self, node: str | type) -> None:
        self.node = node

    def apply(self, field: StrawberryField) -> None:
        kind: Any = TYPES[self.node] if isinstance(self.node, str) else self.node
        field.type_annotation = StrawberryAnnotation(Connection[kind])
        present = {one.python_name for one in field.arguments}
        paging = (
            argument(name, *declared) for name, declared in PAGING_ARGUMENTS.items() if name not in present
        )
        field.arguments = [*field.arguments, *paging]

    async def resolve_async(
        self, next_: Callable[..., Any], source: Any, info: Info, **kwargs: Any
    ) -> Connection[Any]:
        paging = Paging(**{name: kwargs.pop(name, None) for name in PAGING_ARGUMENTS})
        listed = next_(source, info, **kwargs)
        if inspect.isawaitable(listed):
            listed = await listed
        return connect(info.context, listed, paging)


def connection(
    node: str | type,
    *,
    description: str,
    scope: Scope | None = None,
    cost: int = 1,
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a list that a resolver works out: it returns the `InMemoryList` or the `Selection` to page.

    `node` is the prefix of the entries' type, or the type itself where it is no `Node`. Each entry that `first`
    may return costs `cost`. A field of Query gives its `scope` too. A list of rows is declared with `rows` instead.
    """
    return lambda resolver: paged_field(resolver, Paged(node), description, scope, cost)


def paged_field(
    resolver: Callable[..., Any], paged: Paged, description: str, scope: Scope | None, cost: int = 1
) -> Any:
    is_root = scope is not None
    return strawberry.field(
        resolver=resolver,
        description=root_description(description, scope, cost) if is_root else description,
        metadata={COST: cost, CONNECTION: True} | (root_metadata(scope, cost) if is_root else {}),
        extensions=[paged],
    )
