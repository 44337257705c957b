"""The words of the demo model: what it reads in a request and what it answers.

Not here: pace, failure and usage (demo.py).
"""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import dataclass

from apps.providers.base import ChatRequest

MOST_WORDS = 20_000
TAKES = 7
TITLE_REQUEST = "Name this conversation"
_TITLE_CHARACTERS = 40

# "fail" and "think" are everyday words: they are commands only where a sentence begins.
_IMPERATIVE = r"(?:\A|[.!?;,:\n])\s*(?:(?:please|now|then|and)\s+)*{}\b"
_FAIL = re.compile(_IMPERATIVE.format("fail"), re.IGNORECASE)
_THINK = re.compile(_IMPERATIVE.format("think"), re.IGNORECASE)
_WRITE = re.compile(r"\bwrite\s+(?:about\s+)?(\d[\d,.' ]{0,11})\s*words?\b", re.IGNORECASE)
_SPEED = re.compile(r"\bbe\s+(slow|fast)\b", re.IGNORECASE)
_SHOWABLE = r"(?:a\s+|some\s+)?(?:table|code|math|list)\b"
_SHOW = re.compile(rf"\bshow\s+(?:me\s+)?({_SHOWABLE}(?:(?:\s*,\s*|\s+)(?:and\s+)?{_SHOWABLE})*)", re.IGNORECASE)
_SHOWN = re.compile(r"table|code|math|list", re.IGNORECASE)
# What would turn an echoed excerpt into Markdown of its own.
_MARKUP = re.compile(r"([\\`*_\[\]<$|~])")
_LABEL = re.compile(r"\A\s*(?:user|human|you|question|message)\s*:\s*", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")

_SMALL = (
    "a about an and are as at be but by can could do does for from give had has have hello help hi how i in into is it "
    "its let like me more my need of on or our please say should show so some tell than that the their them then there "
    "these this to us want was we what when where which who why will with would write you your"
)
_SMALL_WORDS = frozenset(_SMALL.split())


@dataclass(frozen=True)
class Wish:
    """What the user's last message commands.

    Shape: `sections` names what to show, in order; empty means the usual answer. `words` is 0 if not said.
    """

    words: int = 0
    speed: str = "normal"
    thinks: bool = False
    fails: bool = False
    is_title: bool = False
    sections: tuple[str, ...] = ()


def read_wish(request: ChatRequest) -> Wish:
    """Read the commands in the request."""
    if any(m.role == "system" and m.content.lstrip().startswith(TITLE_REQUEST) for m in request.messages):
        return Wish(is_title=True, speed="fast")
    text = _question(request)
    words, speed = _WRITE.search(text), _SPEED.search(text)
    return Wish(
        words=min(int(re.sub(r"\D", "", words[1])), MOST_WORDS) if words else 0,
        speed=speed[1].lower() if speed else "normal",
        thinks=bool(_THINK.search(text)),
        # What failed once can be continued.
        fails=bool(_FAIL.search(text)) and not request.continuation,
        sections=tuple(dict.fromkeys(_SHOWN.findall(" ".join(_SHOW.findall(text)).lower()))),
    )


def compose(request: ChatRequest, wish: Wish, take: int = 0) -> tuple[str, str]:
    """Write reasoning and text for a request.

    Shape: the same request and take give the same words; another text, another take below TAKES or another
    number of previous answers, others. A continuation gives no reasoning and the rest of the text, whichever take
    that was.
    """
    if wish.is_title:
        return "", make_title(_first_question(request))
    if not request.continuation:
        return _take(request, wish, take)
    so_far = request.messages[-1].content
    texts = (_take(request, wish, number)[1] for number in range(TAKES))
    whole = next((text for text in texts if text.startswith(so_far)), None)
    if whole is None:
        return "", "\n\nHere the demo model takes up the text again, and ends it."
    return "", whole[len(so_far) :]


def _take(request: ChatRequest, wish: Wish, take: int) -> tuple[str, str]:
    question = _question(request)
    answers = sum(message.role == "assistant" for message in request.messages) - request.continuation
    # crc32 and not hash(): the same in every process.
    chance = random.Random(f"{zlib.crc32(question.encode('utf-8', 'replace'))}:{answers}:{take}")
    reasoning = _reasoning(question, answers, chance, long=wish.thinks)
    return reasoning, _essay(wish.words, chance) if wish.words else _showcase(question, answers, wish, chance)


def make_title(text: str) -> str:
    """Name a conversation in two to five of its own words, at most 40 characters."""
    # What is behind the first paragraph may be the answer: its words name nothing.
    question = _LABEL.sub("", text).strip().partition("\n\n")[0]
    words = _WORD.findall(question[:2_000])
    telling = [word for word in words if word.lower() not in _SMALL_WORDS]
    if len(telling) < 2:
        telling = words
    short = [word[: _TITLE_CHARACTERS // 2 - 1] for word in telling[:4]]
    while len(" ".join(short)) > _TITLE_CHARACTERS:
        short.pop()
    if not short:
        return "A wordless question"
    if len(short) == 1:
        short = ["About", *short]
    return " ".join([short[0][:1].upper() + short[0][1:], *short[1:]])


def _question(request: ChatRequest) -> str:
    return next((m.content for m in reversed(request.messages) if m.role == "user"), "")


def _first_question(request: ChatRequest) -> str:
    return next((m.content for m in request.messages if m.role == "user"), "")


def _excerpt(text: str) -> str:
    words = text.split()
    excerpt = " ".join(words[:24])[:200]
    dots = " …" if len(excerpt) < len(" ".join(words)) else ""
    return _MARKUP.sub(r"\\\1", excerpt) + dots


def _reasoning(question: str, answers: int, chance: random.Random, *, long: bool) -> str:
    count = len(question.split())
    told = f"The user wrote {count} {'word' if count == 1 else 'words'}; answer number {answers + 1} is mine to give."
    plan = chance.choice(_PLANS)
    if not long:
        return f"{told} {plan}"
    steps = "\n".join(f"{number}. {_sentence(chance)}" for number in range(1, 13))
    return f"{told}\n\n{plan} Slowly, then:\n\n{steps}\n\nThat is enough thinking."


def _showcase(question: str, answers: int, wish: Wish, chance: random.Random) -> str:
    parts = [_heading(answers, chance), _introduction(question, chance)]
    wanted = wish.sections or ("list", "table", "code", "math")
    parts += [_SECTIONS[name](chance) for name in wanted]
    parts.append(chance.choice(_FAREWELLS))
    return "\n\n".join(parts)


def _heading(answers: int, chance: random.Random) -> str:
    return f"## {chance.choice(_HEADINGS)} ({answers + 1})"


def _introduction(question: str, chance: random.Random) -> str:
    heard = f"I have read your message: “{_excerpt(question)}”" if question.strip() else "Your message was empty."
    return (
        f"I am **Bough's demo model**: no intelligence, only templates, so that you can try everything without "
        f"a key and without a network. {heard}\n\n{_sentence(chance)}"
    )


def _list(chance: random.Random) -> str:
    commands = chance.sample(_COMMANDS, k=4)
    return "### What I obey\n\n" + "\n".join(f"- {command}" for command in commands)


def _table(chance: random.Random) -> str:
    rows = chance.sample(_TREES, k=4)
    lines = [f"| {name} | {height} | {age} |" for name, height, age in rows]
    return "### A table\n\n| Tree | Height, m | Age, years |\n|:--|--:|--:|\n" + "\n".join(lines)


def _code(chance: random.Random) -> str:
    return f"### Some code\n\n{chance.choice(_CODES)}"


def _math(chance: random.Random) -> str:
    inline, block = chance.choice(_FORMULAS)
    return f"### A little mathematics\n\nInside a line, {inline}, and on its own:\n\n{block}"


def _essay(words: int, chance: random.Random) -> str:
    """Write exactly that many words, in paragraphs."""
    left, paragraphs = words, []
    while left:
        paragraph = " ".join(_sentence(chance) for _ in range(5)).split()[:left]
        left -= len(paragraph)
        paragraphs.append(" ".join(paragraph))
    return "\n\n".join(paragraphs).rstrip(",;:.") + "."


def _sentence(chance: random.Random) -> str:
    opening = chance.choice(_OPENINGS)
    subject, verb, ending = chance.choice(_SUBJECTS), chance.choice(_VERBS), chance.choice(_ENDINGS)
    return f"{opening} {subject} {verb} {ending}."


_SECTIONS = {"list": _list, "table": _table, "code": _code, "math": _math}

_PLANS = (
    "I greet them, say what I am, and show what this program can draw.",
    "A short answer with something to look at will do.",
    "They may want to see Markdown at work, so I show some of it.",
)
_HEADINGS = ("An answer from the demo model", "Greetings from the demo model", "The demo model at work")
_FAREWELLS = (
    "Connect a provider to speak with a language model that knows more than I do.",
    "*Regenerate, edit or fork this conversation:* nothing of it is lost.",
    "Ask again, and I shall answer a little differently.",
)
_COMMANDS = (
    "**write 2000 words** gives a long text; any number does",
    "**be slow** and **be fast** change my pace",
    "**think** makes my reasoning longer",
    "**fail** breaks the answer off, to show how that looks",
    "**show a table**, **show code** and **show math** show that alone",
    "**stop** is a button: what was written so far is kept",
)
_TREES = (
    ("Beech", 35, 300),
    ("Lime", 33, 900),
    ("Oak", 32, 1000),
    ("Silver birch", 22, 120),
    ("Sycamore", 30, 400),
    ("Yew", 18, 2000),
)
_CODES = (
    '```python\ndef path_to(message):\n    """Walk from a leaf up to its root."""\n    while message:\n'
    "        yield message\n        message = message.parent\n```",
    "```sql\nSELECT id, text\nFROM message\nWHERE parent_id = 42  -- the children of one message\nORDER BY created_at;\n```",
    "```javascript\nconst siblings = (message) =>\n  message.parent.children.filter((child) => child !== message);\n```",
)
_FORMULAS = (
    (r"$a^2 + b^2 = c^2$", r"$$\sum_{k=1}^{n} k = \frac{n(n+1)}{2}$$"),
    (r"$e^{i\pi} + 1 = 0$", r"$$\int_{0}^{1} x^2 \, dx = \frac{1}{3}$$"),
    (r"$\sqrt{2} \approx 1.41421$", r"$$\lim_{n \to \infty} \left(1 + \frac{1}{n}\right)^n = e$$"),
)
_OPENINGS = (
    "Every spring",
    "On a calm morning",
    "Beyond the garden wall",
    "After the rain",
    "Long before anyone noticed,",
    "In the oldest part of the wood",
    "Year after year",
    "Where two paths meet",
)
_SUBJECTS = (
    "a young branch",
    "the old oak",
    "a row of lime trees",
    "the gardener",
    "a blackbird",
    "the light between the leaves",
    "a patient root",
    "the wind",
)
_VERBS = (
    "finds its way towards",
    "keeps the memory of",
    "grows a little closer to",
    "carries news from",
    "turns slowly towards",
    "rests beside",
    "measures its time by",
    "makes room for",
)
_ENDINGS = (
    "the open sky",
    "a place that nobody has named",
    "everything that came before",
    "the quiet side of the hill",
    "the river and its stones",
    "the next fork of the path",
    "a hundred rings of older wood",
    "whoever comes next",
)
