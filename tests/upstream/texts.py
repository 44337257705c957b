"""What the fake upstream answers. Not here: how it is sent (scripts.py)."""

from __future__ import annotations

import re

TITLE = "Trees And Their Branches"

ANSWER = """\
## A good answer

This comes from the *fake upstream*, over a **real socket**. It knows:

- lists, like this one
- tables, and code

| Tree | Height, m |
|:--|--:|
| Oak | 32 |
| Yew | 18 |

```python
def grow(tree):
    return tree.height + 1
```

Nothing more is to be said — naïve café, 木, 🌳.
"""

REASONING = "The question is short. A short answer will do, with a table."

# Each character takes more than one byte, the last ones four.
MANY_BYTES = "żółw, Ünïcödé, Ελληνικά, кириллица, 木の枝, 🌳🌲👩‍👩‍👧"

HUGE = "x" * 300_000

# 190 kB of code: coloured, it is five times as long. One character makes Python keep four bytes for each.
PLENTY = ("```python\n" + "x = [1, 'a', None]\n" * 780 + "# 🌳\n```\n\n") * 13


WISH = re.compile(r"\b(canary-\w+)(?: (\d+) pieces)?(?: of (\d+) ms)?(?: then (\w+))?")


def canary(name: str, pieces: int) -> list[str]:
    """Give the pieces of an answer that nobody can take for another's: each has the name and its own number."""
    return [f"{name} {number}" + ("\n\n" if number % 12 == 11 else " ") for number in range(pieces)]


def pieces(text: str, size: int = 6) -> list[str]:
    """Cut a text the way tokens cut it: short pieces, in order, nothing lost."""
    return [text[start : start + size] for start in range(0, len(text), size)]
