"""Trusted documents: queries that are known by an id, and the mode in which nothing else is executed.

The file is a JSON object of documents by id, as persisted-query tools write it: `{"<id>": "query …"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from graphql import GraphQLError, GraphQLSchema, parse, validate

from hogsend.settings import Settings, SettingsError


class TrustedDocuments:
    """The documents of one process. `required` means that a query in the request itself is refused."""

    def __init__(self, documents: Mapping[str, str], *, accepted: bool, required: bool) -> None:
        self._documents = documents
        self._accepted = accepted
        self._required = required

    @classmethod
    def load(cls, settings: Settings, schema: GraphQLSchema) -> TrustedDocuments:
        """Read and validate the file. Raises `SettingsError` that names each document which cannot be used."""
        mode = settings.trusted_documents
        if mode == "off":
            return cls({}, accepted=False, required=False)
        if settings.trusted_documents_file is None:
            raise SettingsError(
                [f"HOGSEND_TRUSTED_DOCUMENTS is {mode}, so HOGSEND_TRUSTED_DOCUMENTS_FILE must be set"]
            )
        documents = _read(settings.trusted_documents_file)
        if problems := _problems(schema, documents):
            raise SettingsError(problems)
        return cls(documents, accepted=True, required=mode == "require")

    def source(self, query: str | None, document_id: str | None) -> str:
        """The document to execute. Raises `GraphQLError` with the code BAD_REQUEST."""
        if document_id is not None:
            return self._known(query, document_id)
        if self._required:
            raise _refused("Only trusted documents are executed: send documentId")
        if not query:
            raise _refused("query is required")
        return query

    def _known(self, query: str | None, document_id: str) -> str:
        if not self._accepted:
            raise _refused("Trusted documents are off: send query")
        if query:
            raise _refused("Send query or documentId, not both")
        document = self._documents.get(document_id)
        if document is None:
            raise _refused("There is no trusted document with this documentId")
        return document


def _read(path: Path) -> dict[str, str]:
    try:
        content: Any = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise SettingsError([f"HOGSEND_TRUSTED_DOCUMENTS_FILE: cannot be read: {error}"]) from None
    if not isinstance(content, dict) or not all(isinstance(text, str) for text in content.values()):
        raise SettingsError(["HOGSEND_TRUSTED_DOCUMENTS_FILE: must be a JSON object of documents by id"])
    return content


def _problems(schema: GraphQLSchema, documents: Mapping[str, str]) -> list[str]:
    problems: list[str] = []
    for document_id, source in documents.items():
        try:
            errors = validate(schema, parse(source))
        except GraphQLError as error:
            errors = [error]
        problems += [f"Trusted document {document_id}: {error.message}" for error in errors[:1]]
    return problems


def _refused(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})
