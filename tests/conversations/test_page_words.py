"""What scripts say: one set of sentences in two places, and translated where a language asks for it."""

import json
import re
from pathlib import Path

from django.template import Context, Template
from django.utils import translation

from apps.conversations.templatetags.page_words import WORDS

SCRIPT = Path(__file__).parents[2] / "static/js/words.js"
ENTRY = re.compile(r'^  (\w+):\s*"((?:[^"\\]|\\.)*)",?$', re.MULTILINE)


def render():
    return Template("{% load page_words %}{% page_words %}").render(Context())


def test_scripts_and_pages_know_the_same_sentences():
    source = SCRIPT.read_text()
    spoken = dict(ENTRY.findall(source[source.index("const ENGLISH") : source.index("};")]))
    assert len(spoken) > 40
    with translation.override("en"):
        assert {name: str(words) for name, words in WORDS.items()} == spoken


def test_english_pages_carry_no_second_copy():
    with translation.override("en-gb"):
        assert render() == ""


def test_other_languages_get_them_as_data():
    with translation.override("de"):
        page = render()
    found = re.fullmatch(r'<script id="words" type="application/json">(.*)</script>', page)
    assert set(json.loads(found[1])) == set(WORDS)
