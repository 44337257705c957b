"""Tags of conversation pages: markup that is the same for every message but for its address, made once and stamped."""

from __future__ import annotations

import re
from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.utils.html import conditional_escape
from django.utils.translation import get_language

register = template.Library()
# Private characters, which escaping leaves alone. Looked for in the body once, never in a value.
MARK = re.compile("\ue000(\\w+)\ue001")


class StampNode(template.Node):
    """Renders its body once per key and language, with marks where the values go, and fills them in each time.

    A page holds fifty toolbars of eight buttons: rendered one by one they cost more than everything else on it.
    """

    def __init__(self, nodelist: NodeList, key: FilterExpression, values: dict[str, FilterExpression]) -> None:
        self.nodelist, self.key, self.values = nodelist, key, values
        self.made: dict[Any, list[str]] = {}

    def render(self, context: template.Context) -> str:
        key = (get_language(), self.key.resolve(context))
        made = self.made.get(key)
        if made is None:
            with context.push(**{name: f"\ue000{name}\ue001" for name in self.values}):
                made = self.made[key] = MARK.split(self.nodelist.render(context))
        filled = {name: conditional_escape(value.resolve(context)) for name, value in self.values.items()}
        # Text at even places, names of values at odd ones.
        return "".join(filled[piece] if place % 2 else piece for place, piece in enumerate(made))


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
