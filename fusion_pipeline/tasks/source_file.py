"""Source: one's own data file, with no description beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fusion_pipeline.tasks.names import safe_name
from fusion_pipeline.tasks.raw import RawTask, override, wanted_columns
from fusion_pipeline.tasks.spec import ColumnsSpec
from fusion_pipeline.tasks.table import Table, file_stem, read_table


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A CSV, TSV, JSON lines or Parquet file."""

    path: Path
    takes_columns: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The file's stem, made safe."""
        return safe_name(file_stem(self.path))

    def read(self, columns: ColumnsSpec) -> RawTask:
        """Reads the file, and the validation and test files where they are named."""
        wanted = wanted_columns(*columns.named)
        tables = {"train": read_table(self.path, wanted), **extra_tables(columns, wanted)}
        return override(RawTask(name=self.name, source=f"file {self.path}", tables=tables), columns)


def extra_tables(columns: ColumnsSpec, wanted: frozenset[str]) -> dict[str, Table]:
    """The splits that the person names as files of their own."""
    named = {"validation": columns.validation, "test": columns.test}
    return {split: read_table(Path(file).expanduser(), wanted) for split, file in named.items() if file}
