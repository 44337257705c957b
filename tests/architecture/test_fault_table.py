"""docs/faults.md is made by the tests marked `fault`: each has a row, nothing else has one, and rows read back as written."""

from datetime import date

from tests.fault_table import Row, marked_tests, record_fault, rows_of, write_table


def test_every_test_of_a_fault_has_a_row_and_nothing_else_has_one():
    marked = marked_tests()
    assert marked
    assert {row.test for row in rows_of()} == marked, "run `make faults`, or `make faults ONLY=tests/…`"


def test_rows_say_what_was_seen_and_read_back_as_written(tmp_path):
    rows = [
        Row("killed", "embedded", "saw a | b", "held 3", "tests/a/test_b.py::test_c", "2026-01-02"),
        Row("cut", "scaled", "nothing", "everything", "tests/a/test_b.py::test_d", "2026-01-03"),
    ]
    table = tmp_path / "faults.md"
    write_table(rows, date(2026, 1, 3), table)
    assert rows_of(table) == sorted(rows)
    assert "2 faults, 2 rows from\n2 tests; last run 2026-01-03" in table.read_text()


def test_no_row_is_empty():
    for row in rows_of():
        assert all((row.fault, row.shape, row.reader_saw, row.database_held)), row


def test_nothing_is_noted_where_nobody_asks(tmp_path, monkeypatch):
    monkeypatch.delenv("BOUGH_FAULTS_DIR", raising=False)
    record_fault(fault="x", shape="x", reader_saw="x", database_held="x")
    monkeypatch.setenv("BOUGH_FAULTS_DIR", str(tmp_path))
    record_fault(fault="x", shape="x", reader_saw="x", database_held="x")
    [file] = tmp_path.iterdir()
    assert "test_nothing_is_noted_where_nobody_asks" in file.read_text()
