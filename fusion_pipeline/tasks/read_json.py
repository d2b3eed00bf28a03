"""JSON lines: one object a line."""

from __future__ import annotations

import json
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.problems import Problems
from fusion_pipeline.tasks.table import Table


def read_json_lines(text: str, name: str) -> Table:
    """Rows of JSON lines; blank lines are skipped."""
    if text.lstrip()[:1] == "[":
        raise PipelineError(
            "the file is one JSON list; it has to hold one object a line",
            where=name,
            hint="jq -c '.[]' FILE > FILE.jsonl",
        )
    problems = Problems(name)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    # Not splitlines(): that would also cut at signs such as U+2028, which may stand inside a text.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row = _object(line, number, problems)
        if row is not None:
            rows.append(row)
            lines.append(number)
    problems.check(len(rows) + problems.count)
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(name=name, columns=columns, rows=rows, lines=lines)


def _object(line: str, number: int, problems: Problems) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        problems.add(number, f"is not JSON: {error.msg} (column {error.colno})")
        return None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        problems.add(number, f"is not JSON that can be read: {error}")
        return None
    if not isinstance(value, dict):
        problems.add(number, "is not an object like {...}")
        return None
    return value
