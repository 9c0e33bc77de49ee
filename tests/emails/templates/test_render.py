"""Templates as their authors meet them: what they can write, and what they are told when it is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hogsend.emails.templates.jinja import RenderError
from hogsend.emails.templates.render import TemplateNotFound, Templates, TemplatesError

BODY = "<mjml><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>"


def write(folder: Path, key: str, body: str, front: str = "subject: Hello") -> Path:
    path = folder / f"{key}.mjml.j2"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\n{front}\n---\n{BODY.format(body)}")
    return path


def given(**props: Any) -> dict[str, Any]:
    return {"contact": {"email": "ada@example.com", "properties": {"first_name": "Ada"}}, "props": props}


def test_a_template_becomes_a_subject_a_page_and_a_text(tmp_path: Path) -> None:
    write(
        tmp_path,
        "hello",
        '<mj-text>Dear {{ contact.properties.first_name }}, <a href="https://a.example/?x=1&amp;y=2">look</a></mj-text>',
        'subject: "Hello, {{ contact.properties.first_name }}"\nname: A greeting\ncategory: news',
    )
    templates = Templates.load([tmp_path])
    rendered = templates.render("hello", given())
    assert rendered.subject == "Hello, Ada"
    assert "Dear Ada," in rendered.html
    assert 'href="https://a.example/?x=1&amp;y=2"' in rendered.html
    assert rendered.text == "Dear Ada, look: https://a.example/?x=1&y=2\n"
    template = templates.get("hello")
    assert (template.name, template.category) == ("A greeting", "news")
    assert template.variables == ("contact.properties.first_name",)


def test_values_are_escaped_in_the_page_and_plain_in_subject_and_text(tmp_path: Path) -> None:
    write(tmp_path, "t", "<mj-text>{{ props.x }}</mj-text>", "subject: About {{ props.x }}")
    rendered = Templates.load([tmp_path]).render("t", given(x='<mj-raw> & "Söhne" \x0b\x00'))
    assert rendered.subject == 'About <mj-raw> & "Söhne"'
    assert "&lt;mj-raw&gt; &amp;" in rendered.html
    assert rendered.text == '<mj-raw> & "Söhne"\n'


def test_a_subject_is_one_line_whatever_its_variables_hold(tmp_path: Path) -> None:
    write(tmp_path, "t", "<mj-text>x</mj-text>", "subject: Hi {{ props.name }}")
    rendered = Templates.load([tmp_path]).render("t", given(name="Eve\r\nBcc: all@example.com"))
    assert rendered.subject == "Hi Eve Bcc: all@example.com"


def test_properties_outrank_the_methods_of_dict(tmp_path: Path) -> None:
    write(tmp_path, "t", "{% for x in props.items %}<mj-text>{{ x }}</mj-text>{% endfor %}")
    assert Templates.load([tmp_path]).render("t", given(items=["one", "two"])).text == "one\n\ntwo\n"


def test_an_unset_variable_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, "t", "<mj-text>a</mj-text>\n<mj-text>{{ props.plan.name }}</mj-text>")
    with pytest.raises(RenderError) as error:
        Templates.load([tmp_path]).render("t", given())
    assert error.value.message.startswith("Template t, line 5: props.plan is not set")


def test_an_unset_variable_in_a_subject_is_named(tmp_path: Path) -> None:
    write(tmp_path, "t", "<mj-text>a</mj-text>", "subject: Hi {{ props.nmae }}")
    with pytest.raises(RenderError, match=r"Template t: subject: props\.nmae is not set"):
        Templates.load([tmp_path]).render("t", given())


def test_an_error_in_a_layout_names_the_layout(tmp_path: Path) -> None:
    (tmp_path / "_layout.mjml.j2").write_text(BODY.format("\n<mj-text>{{ brand }}</mj-text>"))
    (tmp_path / "t.mjml.j2").write_text('---\nsubject: x\n---\n{% extends "_layout.mjml.j2" %}')
    with pytest.raises(RenderError, match=r"line 2 of _layout\.mjml\.j2: brand is not set"):
        Templates.load([tmp_path]).render("t", given())


def test_what_an_author_raises_is_one_error(tmp_path: Path) -> None:
    write(tmp_path, "t", "<mj-text>{{ 1 // props.zero }}</mj-text>")
    with pytest.raises(RenderError, match="Template t, line 4: ZeroDivisionError"):
        Templates.load([tmp_path]).render("t", given(zero=0))


@pytest.mark.parametrize("attack", ["{{ ''.__class__.__mro__ }}", "{{ props.__init__.__globals__ }}"])
def test_templates_run_in_a_sandbox(tmp_path: Path, attack: str) -> None:
    write(tmp_path, "t", f"<mj-text>{attack}</mj-text>")
    with pytest.raises(RenderError):
        Templates.load([tmp_path]).render("t", given())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<mj-text>open", "is not MJML"),
        ("<mj-txt>misspelt</mj-txt>", "MJML has no <mj-txt>"),
    ],
)
def test_what_is_no_mjml_is_refused(tmp_path: Path, body: str, words: str) -> None:
    write(tmp_path, "t", body)
    with pytest.raises(RenderError, match=words):
        Templates.load([tmp_path]).render("t", given())


def test_loading_lists_every_template_that_cannot_be_used(tmp_path: Path) -> None:
    write(tmp_path, "fine", "<mj-text>x</mj-text>")
    write(tmp_path, "no-subject", "<mj-text>x</mj-text>", "name: x")
    write(tmp_path, "bad-front", "<mj-text>x</mj-text>", "subject: x\ncolour: red")
    write(tmp_path, "bad-syntax", "<mj-text>{% if %}</mj-text>")
    with pytest.raises(TemplatesError) as error:
        Templates.load([tmp_path, tmp_path / "gone"])
    problems = "\n".join(error.value.problems)
    assert len(error.value.problems) == 4
    assert "gone" in problems
    assert "Template no-subject, line 1: its first lines must give a subject" in problems
    assert "Template bad-front, line 3: expected `key: value`" in problems
    assert "Template bad-syntax, line 4: " in problems


def test_an_unknown_key_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "welcome", "<mj-text>x</mj-text>")
    with pytest.raises(TemplateNotFound, match=r"Template welcom not found\. Did you mean welcome\?"):
        Templates.load([tmp_path]).get("welcom")


@pytest.mark.parametrize("key", ["../secret", "_layout", "", "/etc/passwd", "a\x00b"])
def test_a_key_is_never_a_path_to_elsewhere(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.mjml.j2").write_text("---\nsubject: x\n---\nx")
    write(tmp_path / "templates", "_layout", "x")
    with pytest.raises(TemplateNotFound):
        Templates.load([tmp_path / "templates"]).render(key, given())


def test_a_changed_file_is_read_again_and_a_new_one_found(tmp_path: Path) -> None:
    path = write(tmp_path, "t", "<mj-text>old</mj-text>")
    templates = Templates.load([tmp_path])
    assert templates.render("t", given()).text == "old\n"
    write(tmp_path, "t", "<mj-text>new</mj-text>", "subject: Changed")
    os.utime(path, ns=(1, 1))
    assert templates.render("t", given()).text == "new\n"
    assert templates.get("t").subject == "Changed"
    write(tmp_path, "deep/er", "<mj-text>x</mj-text>")
    assert templates.get("deep/er").key == "deep/er"
    path.unlink()
    with pytest.raises(TemplateNotFound):
        templates.render("t", given())


def test_a_text_file_writes_the_text_part(tmp_path: Path) -> None:
    write(tmp_path, "t", "<mj-text>page</mj-text>")
    (tmp_path / "t.txt.j2").write_text("Plain words & {{ props.x }}\n\n")
    assert Templates.load([tmp_path]).render("t", given(x="<b>")).text == "Plain words & <b>\n"


def test_no_font_is_fetched_because_a_common_one_is_named(tmp_path: Path) -> None:
    write(tmp_path, "t", '<mj-text font-family="Roboto, Arial">x</mj-text>')
    assert "googleapis" not in Templates.load([tmp_path]).render("t", given()).html


def test_styles_are_inlined_and_media_queries_kept(tmp_path: Path) -> None:
    style = ".x a { color: red } @media (max-width: 9px) { .x a { color: blue } }"
    head = f"<mj-head><mj-style>{style}</mj-style></mj-head>"
    write(tmp_path, "t", "")
    (tmp_path / "t.mjml.j2").write_text(
        "---\nsubject: x\n---\n"
        + BODY.format('<mj-text css-class="x"><a href="https://a.example">a</a></mj-text>').replace(
            "<mjml>", "<mjml>" + head
        )
    )
    page = Templates.load([tmp_path]).render("t", given()).html
    assert 'style="color: red;"' in page
    assert "@media (max-width: 9px)" in page
