"""CSV and TSV with a header line, read strictly: a broken quote is an error and never swallows rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.problems import Problems
from fusion_pipeline.tasks.table import Table

Record = tuple[int, list[str]]


def read_csv(text: str, name: str) -> Table:
    """Rows of comma-separated text."""
    return _table(list(_records(text, name, delimiter=",")), name)


def read_tsv(text: str, name: str) -> Table:
    """Rows of tab-separated text, with quotes as spreadsheets write them or as plain characters.

    Both kinds are in use. Quoted is tried first; a file that breaks under it is read plain, which holds only
    if every line then has as many fields as the header.
    """
    try:
        return _table(list(_records(text, name, delimiter="\t")), name)
    except PipelineError as quoted_error:
        try:
            plain = _table(list(_records(text, name, delimiter="\t", quoting=csv.QUOTE_NONE)), name)
        except PipelineError:
            raise quoted_error from None
    note = f"{name}: quotes read as plain characters"
    return Table(name=name, columns=plain.columns, rows=plain.rows, lines=plain.lines, notes=(note,))


def _records(text: str, name: str, **dialect: Any) -> Iterator[Record]:
    """Each record with the line that it begins on; blank lines are skipped."""
    with _any_field_size():
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, **dialect)
        start = 1
        try:
            for fields in reader:
                if any(fields) or len(fields) > 1:
                    yield start, fields
                start = reader.line_num + 1
        except csv.Error as error:
            raise PipelineError(
                f"the record that begins here is broken: {error}",
                where=f"{name}, line {start}",
                hint='close the quote; a quote inside a quoted field is written twice: "he said ""no"""',
            ) from None


def _table(records: list[Record], name: str) -> Table:
    if not records:
        raise PipelineError(
            "the file has no header line", where=name, hint="the first line names the columns"
        )
    header = [column.strip() for column in records[0][1]]
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise PipelineError(
            f"the header names {', '.join(map(repr, twice))} more than once",
            where=f"{name}, line {records[0][0]}",
        )
    problems = Problems(name)
    for line, fields in records[1:]:
        if len(fields) != len(header):
            problems.add(line, f"has {len(fields)} fields, the header has {len(header)}")
    problems.check(len(records) - 1, hint='put a text that holds the separator in quotes: "..."')
    rows = [dict(zip(header, fields, strict=True)) for _, fields in records[1:]]
    return Table(name=name, columns=tuple(header), rows=rows, lines=[line for line, _ in records[1:]])


@contextmanager
def _any_field_size() -> Iterator[None]:
    # The module's limit of 128 KiB a field is global: long documents need more, other code keeps its own.
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)
