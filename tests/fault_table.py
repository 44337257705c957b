"""The table of faults, docs/faults.md: tests marked `fault` say what they saw, `make faults` runs them and writes it.

`python -m tests.fault_table [TESTS…]` runs all of them, or only some and keeps the rows of the others.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "faults.md"
FOLDER = "BOUGH_FAULTS_DIR"
# Where tests run on both databases; elsewhere a test says in its row which one it used.
ON_BOTH = "tests/conversations"
HEAD = """\
# Faults

Written by `make faults`, not by hand: every row says what a test saw and counted in its last run. {faults} faults, {rows} rows from
{tests} tests; {when}. A test is in `tests/`, the place before the colon; *run* is the day. *Shape* is what was running: `embedded` is one
process with SQLite, `scaled` web and runner in processes of their own with PostgreSQL and Redis between them. Times are of a small and
busy machine.

| fault | shape | what the reader saw | what the database held | test | run |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, order=True)
class Row:
    """One row; `test` is the test's address without its parameters, `run` the day."""

    fault: str
    shape: str
    reader_saw: str
    database_held: str
    test: str
    run: str

    def __str__(self) -> str:
        folder, name = self.test.removeprefix("tests/").split("::", 1)
        cells = (self.fault, self.shape, self.reader_saw, self.database_held)
        return f"| {' | '.join(map(_cell, cells))} | `{folder}: {name}` | {self.run} |"

    @classmethod
    def parse(cls, line: str) -> Row:
        """Read a row of the table. Raises: ValueError for any other line."""
        *cells, test, run = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        folder, name = test.strip("`").split(": ", 1)
        fault, shape, reader_saw, database_held = (cell.replace("\\|", "|") for cell in cells)
        return cls(fault, shape, reader_saw, database_held, f"tests/{folder}::{name}", run)


def record_fault(*, fault: str, shape: str, reader_saw: str, database_held: str) -> None:
    """Note what the running test saw, made of what it counted: `make faults` makes a row of it.

    Effects: one line in the folder that BOUGH_FAULTS_DIR names; nothing without it.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    address = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    row = Row(fault, shape, reader_saw, database_held, address.partition("[")[0], f"{datetime.now(UTC):%Y-%m-%d}")
    with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as lines:
        lines.write(json.dumps(asdict(row)) + "\n")


def seconds(since: float) -> str:
    """Word how long something took, from a monotonic time on."""
    return f"{time.monotonic() - since:.1f} s"


def marked_tests() -> set[str]:
    """Find the addresses of all tests marked `fault`, from their sources."""
    return {address for path in (ROOT / "tests").rglob("test_*.py") for address in _marked_in(path)}


def rows_of(table: Path = TABLE) -> list[Row]:
    """Read the rows that a table has."""
    lines = table.read_text().splitlines() if table.exists() else []
    return [Row.parse(line) for line in lines if re.search(r"\| \d{4}-\d\d-\d\d \|$", line)]


def write_table(rows: Iterable[Row], when: date, table: Path = TABLE) -> None:
    """Write the table, sorted."""
    lines = sorted(set(rows))
    head = HEAD.format(
        faults=len({row.fault for row in lines}),
        rows=len(lines),
        tests=len({row.test for row in lines}),
        when=f"last run {when:%Y-%m-%d}",
    )
    table.write_text(head + "".join(f"{row}\n" for row in lines))


def _marked_in(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    of_module = any("pytestmark" in ast.unparse(node).split("=")[0] and _is_mark(node) for node in tree.body)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in functions:
        if node.name.startswith("test_") and (of_module or any(map(_is_mark, node.decorator_list))):
            yield f"{path.relative_to(ROOT).as_posix()}::{node.name}"


def _is_mark(node: ast.AST) -> bool:
    return re.search(r"\bmark\.fault\b", ast.unparse(node)) is not None


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _run(tests: list[str], folder: str, **environment: str) -> bool:
    """Run tests marked `fault`; whether all passed, also where there was none."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-m", "fault", *tests]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment, FOLDER: folder}, check=False)
    return done.returncode in (0, 5)


def main(tests: list[str]) -> int:
    """Run the tests and write the table; where one fails it stays as it was."""
    with tempfile.TemporaryDirectory(prefix="bough-faults-") as folder:
        passed = _run(tests or ["tests"], folder)
        if both := [test for test in tests if test.startswith(ON_BOTH)] if tests else [ON_BOTH]:
            passed &= _run(both, folder, BOUGH_TEST_DATABASE="postgres")
        lines = [line for file in Path(folder).glob("*.jsonl") for line in file.read_text().splitlines()]
    if not passed:
        print("Some tests failed: docs/faults.md stays as it was.", file=sys.stderr)
        return 1
    fresh = [Row(**json.loads(line)) for line in lines]
    again, marked = {row.test for row in fresh}, marked_tests()
    kept = [row for row in rows_of() if tests and row.test in marked and row.test not in again]
    write_table([*fresh, *kept], datetime.now(UTC).date())
    for silent in sorted(marked - again - {row.test for row in kept}):
        print(f"No row from {silent}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
