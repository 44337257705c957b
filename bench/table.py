"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def cell(value: object) -> str:
    """Write a value with as many digits as mean something."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table, its columns as wide as they need to be."""
    cells = [list(head), *([cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [f"| {' | '.join(text.ljust(width) for text, width in zip(row, widths, strict=True))} |" for row in cells]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)
