"""A report as Markdown, with its plots beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusion_pipeline.compare.pictures import Picture
from fusion_pipeline.compare.sections import Point, Section, Table


def markdown(title: str, parts: Sequence[Section], pictures: Mapping[str, Picture], command: str) -> str:
    """The whole file."""
    lines = [f"# {_plain(title)}", ""]
    for part in parts:
        lines += [f"## {_plain(part.title)}", ""]
        lines += [_plain(part.text), ""] if part.text else []
        lines += [*_table(part.table), ""] if part.table else []
        for name in part.plots:
            if name in pictures:
                lines += [f"![{_plain(pictures[name].caption)}]({pictures[name].file})", ""]
        lines += [line for point in part.points for line in _point(point)]
        lines += [""] if part.points else []
    return "\n".join([*lines, "Made with:", "", "```", command, "```", ""])


def _table(table: Table) -> list[str]:
    align = ["---" if i < table.left else "---:" for i in range(len(table.header))]
    rows = [table.header, align, *table.rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]


def _point(point: Point) -> list[str]:
    text = f"**{_plain(point.text)}**" if point.tone in ("better", "worse") else _plain(point.text)
    return [f"- {text}", *(f"  {_plain(detail)}" for detail in point.details)]


def _plain(text: str) -> str:
    """Names come from data: no markup, no HTML."""
    for sign in "\\`*[]<>":
        text = text.replace(sign, "\\" + sign)
    return text.replace("\n", " ")


def _cell(text: str) -> str:
    return text if set(text) <= set("-:") and text else _plain(text).replace("|", "\\|")
