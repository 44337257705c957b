"""SQL of one turn in conversations of different lengths; the counting is turn.py's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.server import Bough, running_provider
from bench.table import table

HEAD = ("messages before", "statements to send", "to answer", "together", "commits")


async def run(folder: Path, *, verbose: bool = False) -> str:
    """Count and give the table; with `verbose`, each statement too."""
    async with running_provider(folder) as provider:
        printed = await Bough(folder, provider).run("-m", "bench.turn")
    found: list[dict[str, Any]] = json.loads(printed)
    rows = [
        (
            "none, and its name" if not row["length"] else row["length"],
            row["send"],
            row["answer"],
            row["send"] + row["answer"],
            row["commits"],
        )
        for row in found
    ]
    texts = "\n".join(f"    {text[:150]}" for row in found[-1:] for text in row["texts"]) if verbose else ""
    return f"{table(HEAD, rows)}\n{texts}\n"
