import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.template import Context, Template
from django.test import RequestFactory
from django.utils import timezone
from lucide import IconDoesNotExist

from apps.core.templatetags.core_tags import find_modules, icon


def _render(source, **context):
    return Template(source).render(Context(context))


class TestIcons:
    def test_an_icon_is_inlined_in_our_size_and_stroke_and_silent(self):
        svg = _render('{% icon "plus" %}')
        assert svg.startswith("<svg ")
        for wanted in ('width="18"', 'height="18"', 'stroke-width="1.75"', 'aria-hidden="true"', 'class="icon"'):
            assert wanted in svg
        assert "xmlns" not in svg

    def test_an_icon_with_a_label_has_a_name(self):
        svg = _render('{% icon "plus" label=name %}', name='Add "this" <b>')
        assert 'role="img"' in svg
        assert "aria-hidden" not in svg
        assert 'aria-label="Add &quot;this&quot; &lt;b&gt;"' in svg

    def test_an_unknown_icon_is_an_error(self):
        with pytest.raises(IconDoesNotExist):
            icon("no-such-icon")

    def test_every_icon_of_our_templates_exists(self):
        used = set()
        for file in Path(settings.BASE_DIR, "templates").rglob("*.html"):
            used |= set(re.findall(r"{%\s*icon ['\"]([^'\"]+)['\"]", file.read_text()))
        assert len(used) > 5
        for name in used:
            assert icon(name).startswith("<svg ")


class TestImportMap:
    @pytest.fixture
    def request_(self):
        request = RequestFactory().get("/")
        request.csp_nonce = "n0nce/+="
        return request

    def test_each_module_has_a_bare_name(self, request_):
        html = _render("{% import_map %}", request=request_)
        start, body, _end = re.fullmatch(r"(<script [^>]*>)(.*)(</script>)", html).groups()
        assert start == '<script type="importmap" nonce="n0nce/+=">'
        imports = json.loads(body)["imports"]
        assert imports["bough/socket"] == "/static/js/socket.js"
        assert set(imports) == {name for name, _path in find_modules()}

    def test_folders_are_part_of_the_name_and_no_name_leaves_the_script(self, request_, settings, tmp_path):
        (tmp_path / "js" / "live").mkdir(parents=True)
        (tmp_path / "js" / "live" / "a.js").touch()
        (tmp_path / "js" / "b<'&.js").touch()
        settings.STATICFILES_DIRS, settings.DEBUG = [tmp_path], True
        html = _render("{% import_map %}", request=request_)
        assert html.count("<") == 2
        imports = json.loads(re.sub("<[^>]*>", "", html))["imports"]
        assert set(imports) == {"bough/live/a", "bough/b<'&"}


class TestTimes:
    def test_a_week_is_told_in_words_and_more_as_a_date(self):
        now = timezone.now()
        assert _render("{{ when|relative_time }}", when=now - timedelta(hours=3)).replace("\xa0", " ") == "3 hours ago"
        assert _render("{{ when|relative_time }}", when=now - timedelta(days=8)) not in ("", "8 days ago")
        assert _render("{{ when|relative_time }}", when=None) == ""

    def test_the_full_time_can_be_pointed_at(self):
        when = timezone.now() - timedelta(minutes=5)
        html = _render("{% time_ago when %}", when=when)
        assert html.startswith(f'<time datetime="{when.isoformat(timespec="seconds")}" title="')
        assert _render("{% time_ago when %}", when=None) == ""


def test_markdown_goes_through_the_one_renderer():
    html = _render("{{ text|markdown }}", text="**bold** <script>alert(1)</script>")
    assert "<strong>bold</strong>" in html
    assert "<script" not in html
