"""Templates on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import strawberry

from hogsend.access.caller import Scope
from hogsend.emails.templates.render import Template, TemplateNotFound
from hogsend.graphql import ids
from hogsend.graphql.connections import Listed, connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import described, field, query
from hogsend.graphql.node import Node


@strawberry.type(name="Template", description="What an email is rendered from.")
class EmailTemplate(Node):
    prefix: ClassVar[str] = "template"

    name: str = strawberry.field(description="What people call it.")
    subject: str = strawberry.field(description="The subject line, before it is rendered.")
    category: str | None = strawberry.field(description="The preference category of its emails.")
    description: str = strawberry.field(description="What it is for.")
    preview: str = strawberry.field(description="What mailboxes show beside the subject.")
    variables: list[str] = strawberry.field(description="The names that it asks for, dotted.")
    updated_at: datetime = strawberry.field(description="When its file last changed.")

    @classmethod
    def describing(cls, template: Template) -> EmailTemplate:
        return cls(
            key=template.key,
            name=template.name,
            subject=template.subject,
            category=template.category,
            description=template.description,
            preview=template.preview,
            variables=list(template.variables),
            updated_at=template.updated_at,
        )

    @classmethod
    def named(cls, context: Context, key: str | None) -> EmailTemplate | None:
        if key is None:
            return None
        try:
            return cls.describing(context.runtime.templates.get(key))
        except TemplateNotFound:
            return None

    @classmethod
    async def fetch(cls, context: Context, id: str) -> Node | None:
        return cls.named(context, ids.name_of(id, cls.prefix))

    @field("The key that journeys name it by.", name="key")
    def template_key(self) -> str:
        return str(self.key)


@strawberry.type
class TemplateQuery:
    @query(description="One template; null where there is none.")
    def template(
        self, info: Info, key: Annotated[str, described("The key that journeys name it by.")]
    ) -> EmailTemplate | None:
        return EmailTemplate.named(info.context, ids.name_of(key, EmailTemplate.prefix))

    @connection("template", scope=Scope.READ, description="The templates of this deployment, by key.")
    def templates(self, info: Info) -> Listed:
        templates = [EmailTemplate.describing(one) for one in info.context.runtime.templates.all()]
        return Listed("templates", sorted(templates, key=lambda one: str(one.key)), lambda one: str(one.key))
