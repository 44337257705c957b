"""One recorded answer of 200 deltas: what providers send at their worst, and what readers are cut off from at every place.

Reasoning and text by turns; emoji, combining marks and CJK that are cut amid; one huge delta and many of one character.
"""

from __future__ import annotations

from random import Random

REASONING = """\
The question is about trees 🌳. Let me think: 木 (one tree), 林 (a grove), 森 (a forest).

1. Say what a **tree** is — naïve, but in n\u0303 words.
2. Show a 👩‍👩‍👧‍👦 family tree.
"""

OPENING = """\
## Bäume, 木 and δένδρα

A *tree* grows; its **branches** don't forget. A flag: 🏳️‍🌈, a family: 👨‍👩‍👧, Z\u0334a\u0337l\u0335g\u0338o\u0301\u0302\u0303, हिन्दी, ไทย.

- oak 🌰
- yew — see [the register][register]
  - 木の枝は折れない

| Tree | Height | 高さ |
|:--|--:|--:|
| Oak 🌳 | 32 m | 三十二 |
| Yew | 18 m | 十八 |

```python
def grow(tree: "木") -> int:
    # 🌲 one more ring
    return tree.height + 1
```

"""

# One delta of 12,000 characters that a provider sent in one piece, a block of its own.
HUGE = "Ein sehr langer Satz über Bäume 🌲 und 木, ohne Pause. " * 226 + "Ende.\n\n"

CLOSING = """\
> Nothing twice, nothing missing: e\u0301 is not é, and 🇵🇹 is two code points.

Math: $a_1 + b^2$, `code`, ~~gone~~ and <b>no HTML</b>.

[register]: https://trees.example/r?a=1&b=2 'é'

"""

DOUBT = "Wait… is that all? 🤔 Yes: 以上."

# Each of these comes alone. What stands below reaches back to the link above it, here and in the part before.
TINY = "So 🌳=木, [see][s].\n\n[s]: https://trees.example/🌲\n\n* Fin\n* e\u0301🍂"


def _cut(text: str, count: int, seed: int) -> list[str]:
    """Cut a text into so many pieces at random places, the same ones each time."""
    places = sorted(Random(seed).sample(range(1, len(text)), count - 1))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def _record() -> list[tuple[str, str]]:
    said = [("reasoning", piece) for piece in _cut(REASONING, 34, 1)]
    said += [("text", piece) for piece in [*_cut(OPENING, 60, 2), HUGE, *_cut(CLOSING, 32, 3)]]
    said += [("reasoning", piece) for piece in _cut(DOUBT, 200 - 127 - len(TINY), 4)]
    return said + [("text", character) for character in TINY]


# What came, in order: kind and text.
DELTAS = _record()
assert len(DELTAS) == 200
