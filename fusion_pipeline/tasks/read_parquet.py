"""Parquet files."""

from __future__ import annotations

import io
from collections.abc import Collection

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.table import Table


def read_parquet(content: bytes, name: str, wanted: Collection[str]) -> Table:
    """Rows of a Parquet file, the wanted columns only; `Table.columns` lists all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        columns = tuple(file.schema_arrow.names)
        rows = file.read(columns=[column for column in columns if column in wanted]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise PipelineError(
            f"the file is not Parquet, or is damaged: {str(error).splitlines()[0]}",
            where=name,
            hint="write it again, or take CSV or JSON lines",
        ) from error
    # Without any wanted column pyarrow yields no rows at all; the missing column is the error to report then.
    rows = rows or [{}] * file.metadata.num_rows
    return Table(name=name, columns=columns, rows=rows, lines=range(1, len(rows) + 1), unit="row")
