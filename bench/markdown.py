"""Measure the Markdown libraries that could render answers, and what the chosen pipeline costs.

Run: .venv/bin/python -m bench.markdown. Takes well under a minute; prints tables; needs no server and no network.
The libraries that were not chosen come with requirements/dev.txt; a missing one is left out of the tables.
"""

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nh3
import pyromark

from apps.core import highlighting, markdown
from apps.streaming.rendering import StreamRenderer

SAMPLE = (Path(__file__).parent / "answer.md").read_text()
POINTS_PER_TOKEN = 4
TOKENS_PER_FRAME = 5  # 50 tokens a second, 10 frames a second
SECONDS_PER_FIGURE = 0.4

Render = Callable[[str], str]

HOSTILE = {
    "100,000 nested quotes": ">" * 100_000 + "a",
    "100,000 nested items": "- " * 100_000 + "a",
    "table, 5,000 × 5,000": "|a" * 5_000 + "|\n" + "|-" * 5_000 + "|\n" + "|b\n" * 5_000,
    "100,000 brackets": "[" * 100_000,
}


def pyromark_html() -> Render:
    """Give pulldown-cmark's own HTML: without masks, formulas, highlighting or our rules."""
    options = pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_TASKLISTS | pyromark.Options.ENABLE_STRIKETHROUGH
    return pyromark.Markdown(options=options).html


def pyromark_events() -> Render:
    """Give the parser as the pipeline uses it for ranges: all events with their ranges, no HTML."""
    options = pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_TASKLISTS | pyromark.Options.ENABLE_STRIKETHROUGH
    parser = pyromark.Markdown(options=options)
    return lambda text: str(sum(1 for _ in parser.events_with_range(text, merge_text=True)))


def comrak_html() -> Render:
    """Give comrak's HTML, raw HTML escaped, with source positions: the only ranges its binding has."""
    comrak = importlib.import_module("comrak")
    extensions, rendering, parsing = comrak.ExtensionOptions(), comrak.RenderOptions(), comrak.ParseOptions()
    extensions.table = extensions.tasklist = extensions.strikethrough = extensions.autolink = True
    extensions.math_dollars = extensions.math_latex = True
    rendering.escape = rendering.sourcepos = True
    return lambda text: str(comrak.render_markdown(text, extensions, parsing, rendering))


def markdown_it_html() -> Render:
    """Give markdown-it-py with the plugins that the same features need."""
    parser = importlib.import_module("markdown_it").MarkdownIt("gfm-like", {"html": False})
    parser.use(importlib.import_module("mdit_py_plugins.dollarmath").dollarmath_plugin)
    parser.use(importlib.import_module("mdit_py_plugins.tasklists").tasklists_plugin)
    return lambda text: str(parser.render(text))


CANDIDATES: dict[str, Callable[[], Render]] = {
    "pyromark html()": pyromark_html,
    "pyromark events": pyromark_events,
    "comrak": comrak_html,
    "markdown-it-py": markdown_it_html,
}


def microseconds(work: Callable[[], object]) -> float:
    """Measure the best of as many runs as fit into the time."""
    work()
    best, until = float("inf"), time.process_time() + SECONDS_PER_FIGURE
    while time.process_time() < until:
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1e6


def frames_of(text: str) -> list[str]:
    """Collect what is open at each frame of a streamed answer."""
    renderer, step, opened = StreamRenderer(), POINTS_PER_TOKEN * TOKENS_PER_FRAME, []
    for at in range(0, len(text), step):
        renderer.feed(text[at : at + step])
        renderer.frame()
        opened.append(renderer._open)
    return opened


def forget() -> None:
    """Drop what the pipeline remembers."""
    highlighting.recent.clear()
    markdown.recent.clear()


def stream(text: str) -> None:
    """Stream an answer as the hub does, highlighting included and nothing remembered from before."""
    forget()
    renderer, step = StreamRenderer(), POINTS_PER_TOKEN * TOKENS_PER_FRAME
    for at in range(0, len(text), step):
        renderer.feed(text[at : at + step])
        renderer.frame()
    renderer.finish()


def render_cold(text: str) -> None:
    """Render a whole answer with nothing remembered from before."""
    forget()
    markdown.render(text)


def render_again(text: str) -> None:
    """Render a whole answer whose code was highlighted before."""
    markdown.recent.clear()
    markdown.render(text)


def available() -> dict[str, Render]:
    """Make the candidates that are installed."""
    made = {}
    for name, make in CANDIDATES.items():
        try:
            made[name] = make()
        except ImportError:
            print(f"({name} is not installed)")
    return made


def costs(candidates: dict[str, Render]) -> None:
    """Print what each candidate costs for a whole answer and for the open block of a frame."""
    frames = frames_of(SAMPLE)
    print(f"\nOne answer of {len(SAMPLE)} code points, {len(frames)} frames; CPU in µs\n")
    print("| | parse | + nh3 | open block, a frame | + nh3 |\n|---|--:|--:|--:|--:|")
    for name, render in candidates.items():
        whole = microseconds(lambda render=render: render(SAMPLE))
        cleaned = microseconds(lambda render=render: nh3.clean(render(SAMPLE)))
        frame = microseconds(lambda render=render: [render(text) for text in frames]) / len(frames)
        framed = microseconds(lambda render=render: [markdown._sanitiser.clean(render(text)) for text in frames]) / len(
            frames
        )
        print(f"| {name} | {whole:.0f} | {cleaned:.0f} | {frame:.1f} | {framed:.1f} |")
    cold = microseconds(lambda: render_cold(SAMPLE))
    warm = microseconds(lambda: render_again(SAMPLE))
    known = microseconds(lambda: markdown.render(SAMPLE))
    streamed = microseconds(lambda: stream(SAMPLE))
    naive = microseconds(lambda: [render_again(SAMPLE[: at + 20]) for at in range(0, len(SAMPLE), 20)])
    print("\n| Bough's pipeline: masks, events, formulas, Pygments, nh3 | |\n|---|--:|")
    print(f"| whole answer, code highlighted afresh | {cold:.0f} µs |")
    print(f"| whole answer, code remembered | {warm:.0f} µs |")
    print(f"| whole answer, remembered | {known:.1f} µs |")
    print(f"| streamed, a frame, settling and highlighting included | {streamed / len(frames):.1f} µs |")
    print(f"| streamed, 10,000 tokens | {streamed / len(SAMPLE) * POINTS_PER_TOKEN * 10_000 / 1e6:.2f} s |")
    print(
        f"| whole text again at each frame, 10,000 tokens | {naive / len(SAMPLE) * POINTS_PER_TOKEN * 10_000 / 1e6:.2f} s |"
    )


def limits(candidates: dict[str, Render]) -> None:
    """Print how long hostile texts take, each in a process of its own."""
    print("\nHostile text, parse and nh3; the pipeline for itself\n")
    print(f"| | {' | '.join(HOSTILE)} |\n|---|{'--:|' * len(HOSTILE)}")
    for name in [*(name for name in candidates if name != "pyromark events"), "Bough"]:
        print(f"| {name} | {' | '.join(time_limited(name, text) for text in HOSTILE)} |", flush=True)


def time_limited(name: str, text: str) -> str:
    """Run one hostile text in a process of its own for at most five seconds."""
    command = [sys.executable, "-m", "bench.markdown", "--one", name, text]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except subprocess.TimeoutExpired:
        return "> 5 s"
    return done.stdout.strip() if done.returncode == 0 else f"exit {done.returncode}"


def one(name: str, text: str) -> None:
    """Render one hostile text with one candidate and print the seconds."""
    render: Render = markdown.render if name == "Bough" else CANDIDATES[name]()
    began = time.process_time()
    html = render(HOSTILE[text])
    if name != "Bough":
        nh3.clean(html)
    print(f"{time.process_time() - began:.2f} s")


def main() -> None:
    """Print all tables, or with --one measure one hostile text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("CANDIDATE", "TEXT"))
    chosen = parser.parse_args()
    if chosen.one:
        one(*chosen.one)
        return
    candidates = available()
    costs(candidates)
    limits(candidates)


if __name__ == "__main__":
    main()
