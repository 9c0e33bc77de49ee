"""Answers of a level: columns of values, some of them still to come, put together into the objects that go out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from hogsend.planning.shape import ObjectShape

K = TypeVar("K")

Values = list[Any]
"""What one field has of each object of a level, in the objects' order."""


async def assembled(shape: ObjectShape, columns: Iterable[Values | Awaitable[Values]], count: int) -> Values:
    """The answers of `count` objects: a column for each of the shape's fields."""
    answers: Values = assembler(shape)(count, *await settled(columns))
    return answers


async def settled(begun: Iterable[Any]) -> list[Any]:
    """All of what an iterator begins, the coroutines among it awaited together; where one fails the others end too."""
    found = gathered(begun)
    waiting = [index for index, one in enumerate(found) if asyncio.iscoroutine(one)]
    results = await together([found[index] for index in waiting])
    for index, result in zip(waiting, results, strict=True):
        found[index] = result
    return found


async def placed(
    count: int, groups: Mapping[K, list[int]], answer: Callable[[K, list[int]], Awaitable[Values]]
) -> Values:
    """The answers of `count` objects, group by group, each in its object's place; None for those of no group."""
    answers: Values = [None] * count
    found = await together([answer(group, places) for group, places in groups.items()])
    for places, values in zip(groups.values(), found, strict=True):
        for place, value in zip(places, values, strict=True):
            answers[place] = value
    return answers


def gathered(begun: Iterable[Any]) -> list[Any]:
    """All of what an iterator begins; where it raises, the coroutines that it began are closed."""
    found = []
    try:
        for one in begun:
            found.append(one)
    except BaseException:
        for one in found:
            if asyncio.iscoroutine(one):
                one.close()
        raise
    return found


async def awaited(values: Values | Awaitable[Values]) -> Values:
    return values if isinstance(values, list) else await values


async def together(work: list[Any]) -> list[Any]:
    """The results, in order; where one fails the others end too."""
    if len(work) < 2:
        return [await one for one in work]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]


def assembler(shape: ObjectShape) -> Any:
    """A generated function: from columns of values to the objects of the answer, their keys in the document's order."""
    known = shape.notes.get("assemble")
    if known is None:
        names = {field.key: f"v{index}" for index, field in enumerate(shape.fields)}
        pairs = [f"{key!r}: {names.get(key, repr(shape.kind.name))}" for key in shape.order]
        columns = ", ".join(f"c{index}" for index in range(len(shape.fields)))
        each = f"for {', '.join(names.values())}, in zip({columns})" if names else "for _ in range(count)"
        source = f"lambda count, {columns}: [{{{', '.join(pairs)}}} {each}]".replace("count, :", "count:")
        known = shape.notes["assemble"] = eval(source)  # noqa: S307
    return known
