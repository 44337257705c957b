"""Tags of conversation pages: markup that is the same for every message but for its address, made once and stamped."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.utils.html import conditional_escape
from django.utils.translation import get_language

register = template.Library()


class StampNode(template.Node):
    """Renders its body once per key and language, with marks where the values go, and fills them in each time.

    A page holds fifty toolbars of eight buttons: rendered one by one they cost more than everything else on it.
    """

    def __init__(self, nodelist: NodeList, key: FilterExpression, values: dict[str, FilterExpression]) -> None:
        self.nodelist, self.key, self.values = nodelist, key, values
        self.made: dict[Any, str] = {}

    def render(self, context: template.Context) -> str:
        key = (get_language(), self.key.resolve(context))
        made = self.made.get(key)
        if made is None:
            with context.push(**{name: _mark(name) for name in self.values}):
                made = self.made[key] = self.nodelist.render(context)
        for name, value in self.values.items():
            made = made.replace(_mark(name), conditional_escape(value.resolve(context)))
        return made


def _mark(name: str) -> str:
    """Mark a place by characters that no page of ours holds and that escaping leaves alone."""
    return f"\ue000{name}\ue001"


@register.tag
def stamp(parser: Parser, token: Token) -> StampNode:
    """Stamp a body: `{% stamp m.shape url=m.url id=m.id %}…{{ url }}…{% endstamp %}`.

    Everything else that the body reads must follow from the key.
    """
    _name, key, *rest = token.split_contents()
    values = token_kwargs(rest, parser)
    if rest or not values:
        raise template.TemplateSyntaxError("stamp takes a key and then name=value pairs.")
    nodelist = parser.parse(("endstamp",))
    parser.delete_first_token()
    return StampNode(nodelist, parser.compile_filter(key), values)


@register.inclusion_tag("conversations/_use.html")
def draw(name: str, size: int = 18) -> dict[str, Any]:
    """Draw an icon of the page's sprite: a reference instead of the whole drawing, where one repeats."""
    return {"name": name, "size": size}
