"""Random documents that are valid in a schema: aliases, fragments, directives, variables, nested lists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    Undefined,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)

DEPTH = 6
# What differs from one execution to the next, or reads what no row holds.
LEFT_OUT = frozenset(
    {
        "cursor",
        "streamPosition",
        "health",
        "viewer",
        "currentValue",
        "metrics",
        "explainEnrollment",
        "auditLog",
    }
)
VARIABLES = {"$yes": "$yes: Boolean! = true", "$no": "$no: Boolean! = false", "$n": "$n: Int = 2"}
DIRECTIVES = (
    "",
    "",
    "",
    "",
    " @include(if: $yes)",
    " @skip(if: $no)",
    " @include(if: $no)",
    " @skip(if: true)",
)


class Documents:
    """Draws documents. `ids` are what an argument of that name may be given, as GraphQL literals."""

    def __init__(self, schema: GraphQLSchema, random: Random, ids: Mapping[str, Sequence[str]]) -> None:
        self._schema = schema
        self._random = random
        self._ids = ids
        self._fragments: list[str] = []
        self._fields = 0

    def draw(self, root: str | None = None) -> str:
        """A query of one to three root fields, with its fragments."""
        self._fragments, self._fields = [], 0
        query = self._schema.query_type
        assert query is not None
        names = [name for name in query.fields if name not in LEFT_OUT]
        chosen = [root] if root else self._random.sample(names, self._random.choice((1, 1, 2)))
        fields = [
            self._field(name, query.fields[name], 0, f"r{index}: ") for index, name in enumerate(chosen)
        ]
        body = " ".join(field for field in fields if field)
        text = "\n".join([f"{{ {body} }}", *self._fragments])
        used = [declared for name, declared in VARIABLES.items() if re.search(rf"\{name}\b", text)]
        return f"query Drawn{f'({chr(44).join(used)})' if used else ''} {text}"

    def _selection(self, kind: GraphQLNamedType, depth: int) -> str:
        """What is selected of an object; empty where nothing may be."""
        parts = []
        if is_abstract_type(kind):
            possible = list(self._schema.get_possible_types(kind))
            for one in self._random.sample(possible, min(len(possible), 3)):
                inner = self._selection(one, depth)
                parts.append(f"... on {one.name} {{ {inner} }}" if inner else "")
            parts.append("__typename")
        fields = getattr(kind, "fields", {})
        names = [name for name in fields if name not in LEFT_OUT]
        for name in self._random.sample(names, min(len(names), self._random.randint(2, 6))):
            # A name that means something else in each type needs one of its own.
            odd = name == "subject" or self._random.random() < 0.1
            alias = f"{name}_{self._fields}: " if odd else ""
            parts.append(self._field(name, fields[name], depth, alias))
        if self._random.random() < 0.2:
            parts.append("__typename")
        text = " ".join(part for part in parts if part)
        if text and isinstance(kind, GraphQLObjectType) and self._random.random() < 0.15:
            name = f"F{len(self._fragments)}"
            self._fragments.append(f"fragment {name} on {kind.name} {{ {text} }}")
            return f"...{name}"
        return text

    def _field(self, name: str, field: GraphQLField, depth: int, alias: str) -> str:
        self._fields += 1
        arguments = self._arguments(name, field)
        if arguments is None or self._fields > 120:
            return ""
        directive = self._random.choice(DIRECTIVES) if depth else ""
        kind = get_named_type(field.type)
        if is_leaf_type(kind):
            return f"{alias}{name}{arguments}{directive}"
        inner = "" if depth >= DEPTH else self._selection(kind, depth + 1)
        return f"{alias}{name}{arguments}{directive} {{ {inner} }}" if inner else ""

    def _arguments(self, name: str, field: GraphQLField) -> str | None:
        """The arguments in brackets; None where one that is required cannot be made."""
        given = []
        for word, argument in field.args.items():
            required = is_non_null_type(argument.type) and argument.default_value is Undefined
            if not required and self._random.random() < 0.6:
                continue
            text = self._value(f"{name}.{word}", word, argument)
            if text is None and required:
                return None
            if text is not None:
                given.append((word, text))
        words = dict(given)
        if "first" in words and "last" in words:
            del words["last"]
        if "last" in words:
            words.pop("offset", None)
        if "first" in field.args and not {"first", "last"} & words.keys():
            words["first"] = "3"
        return f"({', '.join(f'{word}: {text}' for word, text in words.items())})" if words else ""

    def _value(self, path: str, word: str, argument: GraphQLArgument) -> str | None:
        if path in self._ids or word in self._ids:
            return self._random.choice(self._ids.get(path) or self._ids[word])
        kind = argument.type.of_type if is_non_null_type(argument.type) else argument.type
        many = is_list_type(kind)
        named = get_named_type(kind)
        if isinstance(named, GraphQLEnumType):
            names = list(named.values)
            picked = self._random.sample(names, min(len(names), 2))
            return f"[{', '.join(picked)}]" if many else picked[0]
        if (
            isinstance(named, GraphQLScalarType)
            and named.name == "Int"
            and word in ("first", "last", "offset")
        ):
            return self._random.choice(("0", "1", "2", "5", "$n") if word != "offset" else ("0", "1", "2"))
        if isinstance(named, GraphQLScalarType) and named.name == "Boolean":
            return self._random.choice(("true", "false", "$yes"))
        return None
