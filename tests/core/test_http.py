import pytest
from django.test import RequestFactory, override_settings

from apps.core.http import is_safe_id, render_page, theme_of_browser, wants_part

PAGE = "{% block title %}{% endblock %}<html>{% partialdef words inline %}<p>{{ text }}</p>{% endpartialdef %}</html>"


@pytest.fixture
def page(settings, tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    templates = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    with override_settings(TEMPLATES=templates):
        yield "page.html"


def _request(**headers):
    return RequestFactory().get("/", headers=headers)


def test_a_page_is_whole_without_htmx(page):
    response = render_page(_request(), page, {"text": "a < b"}, part="words")
    assert response.content.decode() == "<html><p>a &lt; b</p></html>"
    assert "HX-Request" in response["Vary"]


def test_htmx_gets_the_part_that_the_view_names(page):
    response = render_page(_request(**{"HX-Request": "true"}), page, {"text": "x"}, part="words", status=422)
    assert response.content.decode() == "<p>x</p>"
    assert response.status_code == 422
    assert "HX-Request" in response["Vary"]


def test_without_a_named_part_htmx_gets_the_page(page):
    response = render_page(_request(**{"HX-Request": "true"}), page, {"text": "x"})
    assert response.content.decode().startswith("<html>")


@pytest.mark.parametrize("header", ["HX-Boosted", "HX-History-Restore-Request"])
def test_boosted_and_restored_pages_are_whole(header):
    assert not wants_part(_request(**{"HX-Request": "true", header: "true"}))
    assert wants_part(_request(**{"HX-Request": "true", header: "false"}))


def test_ids_are_safe_or_not():
    assert is_safe_id("a-Z_0.9")
    for bad in ("", "a\n", "a\nb", "é", "x" * 65):
        assert not is_safe_id(bad)


@pytest.mark.parametrize(
    ("cookie", "theme"), [("dark", "dark"), ("light", "light"), ('"><script>', "system"), ("", "system")]
)
def test_a_browser_can_only_ask_for_a_theme_there_is(cookie, theme):
    request = _request()
    request.COOKIES["bough_theme"] = cookie
    assert theme_of_browser(request) == theme
