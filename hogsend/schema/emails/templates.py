"""Email templates in the schema."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.emails.templates.render import TemplateNotFound
from hogsend.graphql import ids
from hogsend.graphql.connections import InMemoryList, connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute, described, field, query, wire_type
from hogsend.graphql.mapping import from_object
from hogsend.graphql.node import Node


@wire_type(name="Template", description="An email template of this deployment.")
class EmailTemplate(Node, prefix="template", columns={"key": "key"}):
    name: str = attribute("Display name.")
    subject: str = attribute("Subject line, before rendering.")
    category: str | None = attribute("Preference category of its emails.")
    description: str = attribute("What it is for.")
    preview: str = attribute("Preview text that mailboxes show beside the subject.")
    variables: list[str] = attribute("Variables that it uses, as dotted names.")
    updated_at: datetime = attribute("When its file last changed.")

    @classmethod
    def named(cls, context: Context, name: str | None) -> EmailTemplate | None:
        """The template with this key."""
        if name is None:
            return None
        try:
            return from_object(cls, context.runtime.templates.get(name))
        except TemplateNotFound:
            return None

    @field("Key that journeys refer to it by.", name="key")
    def template_key(self) -> str:
        return str(self.key)


@strawberry.type
class TemplateQuery:
    @query(description="A template by key; null where there is none.")
    def template(
        self, info: Info, key: Annotated[str, described("Key that journeys refer to it by.")]
    ) -> EmailTemplate | None:
        return EmailTemplate.named(info.context, ids.name_of(key, EmailTemplate.prefix))

    @connection("template", scope=Scope.READ, description="Templates of this deployment, by key.")
    def templates(self, info: Info) -> InMemoryList:
        templates = sorted(info.context.runtime.templates.all(), key=lambda one: one.key)
        shown = [from_object(EmailTemplate, one) for one in templates]
        return InMemoryList("templates", shown, lambda one: str(one.key))
