"""A table as it was read from a file: rows, columns, and the place of each row for messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of one split.

    Args:
        name: What a person calls it: the file's path.
        columns: All columns there are.
        rows: One mapping per row.
        lines: The line (or row number) of each row in the file.
        unit: 'line' or 'row'.
        notes: What a person should know about the reading.
    """

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    lines: Sequence[int]
    unit: str = "line"
    notes: tuple[str, ...] = ()

    def place(self, index: int) -> str:
        """Where a row stands: 'reviews.csv, line 12'."""
        return f"{self.name}, {self.unit} {self.lines[index]}"


def file_format(path: Path) -> str | None:
    """The format that a file's name stands for, a trailing .gz aside; None for any other file."""
    name = path.name.removesuffix(".gz")
    return SUFFIXES.get(Path(name).suffix.lower())


def file_stem(path: Path) -> str:
    """The file's name without .gz and without its format."""
    return Path(path.name.removesuffix(".gz")).stem


def read_table(path: Path, wanted: Collection[str]) -> Table:
    """Reads a data file; of Parquet only the wanted columns, since others may be large."""
    from fusion_pipeline.tasks.read_csv import read_csv, read_tsv
    from fusion_pipeline.tasks.read_file import read_bytes, read_text
    from fusion_pipeline.tasks.read_json import read_json_lines
    from fusion_pipeline.tasks.read_parquet import read_parquet

    readers: dict[str, Callable[[], Table]] = {
        "csv": lambda: read_csv(read_text(path), str(path)),
        "tsv": lambda: read_tsv(read_text(path), str(path)),
        "json": lambda: read_json_lines(read_text(path), str(path)),
        "parquet": lambda: read_parquet(read_bytes(path), str(path), wanted),
    }
    table = readers[_known_format(path)]()
    if not table.rows:
        raise PipelineError("the file has no rows", where=str(path), hint="one row per example")
    return table


def require_columns(table: Table, wanted: Mapping[str, str]) -> None:
    """Checks that the columns are there; `wanted` maps the config key to the column."""
    for key, column in wanted.items():
        if column in table.columns:
            continue
        listed = ", ".join(table.columns)
        hint = f"set {key}; {did_you_mean(column, table.columns)}"
        if len(table.columns) == 1 and any(mark in listed for mark in ";\t|"):
            hint = "the columns seem to be separated by another sign: save the file with commas, or as .tsv"
        raise PipelineError(
            f"there is no column '{column}'; there are: {listed}", where=table.name, hint=hint
        )


def _known_format(path: Path) -> str:
    format_ = file_format(path)
    if format_ is None:
        known = ", ".join(SUFFIXES)
        raise PipelineError(
            f"'{path.name}' is not a data file that can be read",
            where=str(path),
            hint=f"{known}, or these with .gz",
        )
    return format_
