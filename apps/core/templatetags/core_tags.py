"""Tags and filters of every template: icons, the import map, Markdown, and how long ago something was."""

import functools
from datetime import datetime
from pathlib import Path
from typing import Any

from django import template
from django.conf import settings
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import escapejs, format_html, format_html_join
from django.utils.safestring import SafeString
from lucide.templatetags.lucide import lucide

from apps.core.markdown import render

register = template.Library()

ICON_SIZE, ICON_STROKE = 18, "1.75"
# Older than this a date says more than "8 days ago".
RELATIVE_DAYS = 7


@register.simple_tag
def icon(name: str, size: int = ICON_SIZE, label: str = "") -> SafeString:
    """Inline an icon of the lucide family; hidden from screen readers unless it has a label of its own.

    Raises: lucide.IconDoesNotExist for an unknown name; a test reads all templates for it.
    """
    return _icon(name, size, label)


@functools.lru_cache(maxsize=512)
def _icon(name: str, size: int, label: str) -> SafeString:
    named = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    # The library takes the SVG out of its own package and escapes the attributes.
    drawn: SafeString = lucide(
        name, size=size, stroke_width=ICON_STROKE, focusable="false", **{"class": "icon"}, **named
    )
    return drawn


@register.simple_tag(takes_context=True)
def import_map(context: dict[str, Any]) -> SafeString:
    """Print the import map: `bough/<path without .js>` → the address of that file of static/js, hashed where files are."""
    request = context.get("request")
    pairs = format_html_join(
        ",", '"{}":"{}"', ((escapejs(name), escapejs(static(path))) for name, path in _modules_now())
    )
    return format_html(
        '<script type="importmap" nonce="{}">{{"imports":{{{}}}}}</script>', getattr(request, "csp_nonce", ""), pairs
    )


def _modules_now() -> tuple[tuple[str, str], ...]:
    # While developing, a new file must show up without a restart.
    return find_modules() if settings.DEBUG else _modules_at_start()


@functools.cache
def _modules_at_start() -> tuple[tuple[str, str], ...]:
    return find_modules()


def find_modules() -> tuple[tuple[str, str], ...]:
    """Find our JavaScript modules: pairs of bare name and path below static/, sorted by name."""
    found = set()
    for folder in map(Path, settings.STATICFILES_DIRS):
        for file in (folder / "js").rglob("*.js"):
            name = file.relative_to(folder / "js").with_suffix("").as_posix()
            found.add((f"bough/{name}", file.relative_to(folder).as_posix()))
    return tuple(sorted(found))


@register.filter
def markdown(text: str) -> SafeString:
    """Render Markdown as sanitised HTML, by the one renderer."""
    return render(text)


@register.simple_tag
def time_ago(moment: datetime | None) -> SafeString | str:
    """Say when, in words for a week and as a date after that, with the full time to point at; nothing for None."""
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        date_format(local, "DATETIME_FORMAT"),
        relative_time(moment),
    )


@register.filter
def relative_time(moment: datetime | None) -> str:
    """Give the words alone: "3 hours ago", or the date where that is longer ago than a week."""
    if moment is None:
        return ""
    if (timezone.now() - moment).days < RELATIVE_DAYS:
        return str(naturaltime(moment))
    return date_format(timezone.localtime(moment), "DATE_FORMAT")
