"""The stamp: what repeats is rendered once, and filled in safely each time."""

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.utils import translation

SOURCE = "{% load conversation_tags i18n %}{% for row in rows %}{% stamp row.kind name=row.name %}<{{ row.kind }}>{{ name }}{% translate 'Yes' %}{% endstamp %}{% endfor %}"


def test_values_are_filled_in_and_escaped_and_kinds_kept_apart():
    rows = [{"kind": "a", "name": "one"}, {"kind": "b", "name": "<two>"}, {"kind": "a", "name": "three"}]
    with translation.override("en"):
        assert Template(SOURCE).render(Context({"rows": rows})) == "<a>oneYes<b>&lt;two&gt;Yes<a>threeYes"


def test_each_language_has_its_own():
    template, rows = Template(SOURCE), [{"kind": "a", "name": "x"}]
    with translation.override("en"):
        template.render(Context({"rows": rows}))
    with translation.override("de"):
        assert template.render(Context({"rows": rows})) == "<a>xJa"


def test_a_value_that_looks_like_a_place_for_another_is_only_text():
    source = "{% load conversation_tags %}{% stamp 1 first=one second=two %}{{ first }}|{{ second }}{% endstamp %}"
    shown = Template(source).render(Context({"one": "\ue000second\ue001", "two": "B"}))
    assert shown == "\ue000second\ue001|B"


@pytest.mark.parametrize("tag", ["{% stamp m.kind %}", "{% stamp m.kind name %}"])
def test_a_stamp_without_values_is_a_mistake(tag):
    with pytest.raises(TemplateSyntaxError):
        Template("{% load conversation_tags %}" + tag + "{% endstamp %}")
