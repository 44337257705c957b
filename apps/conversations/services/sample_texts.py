"""Made-up questions, answers and titles for demonstrations: plain Markdown from a random source, no model."""

from __future__ import annotations

import random

TOPICS = (
    "sourdough at altitude", "a rota for the kitchen", "the index of a small book", "watering a balcony", "old bridges",
    "a budget for two", "naming a boat", "reading a tide table", "the grammar of recipes", "a walk along the canal",
    "choosing a bicycle", "labels for seed packets", "moving a piano", "a letter to the council", "winter birds",
    "sharing a calendar", "the rules of a card game", "mending a wooden chair", "a timetable for trains", "mushroom soup",
)  # fmt: skip
OPENINGS = (
    "How would you begin with", "What matters most about", "Explain to a beginner", "Make a short plan for",
    "What do people get wrong about", "Give me three ideas for", "Compare two ways to handle", "Summarise what we know about",
)  # fmt: skip
SENTENCES = (
    "Start small and write down what you change.", "The first step takes longer than it looks.",
    "Ask somebody who has done it before.", "Keep the parts that work and leave the rest.",
    "It depends on the season, and on how much room there is.", "Measure twice; the second time is the one that counts.",
    "Two people can do it in an afternoon.", "Most of the cost is in the preparation.",
    "If it rains, wait a day and begin again.", "That is a matter of taste more than of skill.",
    "A simple list on the wall helps more than an elaborate one in a drawer.", "There is no harm in doing it by hand.",
)  # fmt: skip
CODE = (
    '```python\nfor step in plan:\n    print(f"{step.name}: {step.minutes} minutes")\n```',
    "```sql\nSELECT name, amount FROM ingredients ORDER BY name;\n```",
    "| item | amount |\n|---|---|\n| flour | 500 g |\n| water | 350 g |",
)  # fmt: skip


def sample_title(rng: random.Random) -> str:
    """Make a title of a few words."""
    topic = rng.choice(TOPICS)
    return topic[0].upper() + topic[1:]


def sample_question(rng: random.Random) -> str:
    """Make a question of one or two sentences."""
    question = f"{rng.choice(OPENINGS)} {rng.choice(TOPICS)}?"
    return f"{question} {rng.choice(SENTENCES)}" if rng.random() < 0.3 else question


def sample_answer(rng: random.Random) -> str:
    """Make an answer of one to four blocks, now and then a list, code or a table."""
    blocks = [_paragraph(rng)]
    for _ in range(rng.randrange(4)):
        chance = rng.random()
        if chance < 0.15:
            blocks.append(rng.choice(CODE))
        elif chance < 0.35:
            blocks.append("\n".join(f"* {sentence}" for sentence in rng.sample(SENTENCES, 3)))
        else:
            blocks.append(_paragraph(rng))
    return "\n\n".join(blocks)


def _paragraph(rng: random.Random) -> str:
    return " ".join(rng.sample(SENTENCES, rng.randint(1, 4)))
