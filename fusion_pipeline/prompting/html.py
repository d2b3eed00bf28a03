"""A comparison of prompts as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fusion_pipeline.prompting.markdown import HEADER, OVERLAP, measures, settings
from fusion_pipeline.prompting.results import Comparison

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #ccc; padding: .4rem .6rem; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.said, td.prompt { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 14rem; max-width: 34rem; }
td.same { color: #888; }
.wide { overflow-x: auto; }
"""


def page(found: Comparison) -> str:
    """The page: a line a contender, overlaps, and a row a prompt with a column a contender.

    Every text is escaped; there is no script and no address in it. An answer that is the base's own is grey.
    """
    scores = [[_cell(a.contender.name), *(_cell(m, "number") for m in measures(a))] for a in found.answers]
    parts = [
        f"<h1>Prompts, side by side</h1><p>{escape(settings(found))}</p>",
        _table(["contender", *HEADER], scores),
        *_overlap(found),
        "<h2>Answers</h2>",
        _table(["prompt", *found.names], _answers(found)),
        f"<p>Made with: <code>{escape(found.command)}</code></p>",
    ]
    head = f'<meta charset="utf-8"><title>Prompts, side by side</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _overlap(found: Comparison) -> list[str]:
    if len(found.answers) < 2:
        return []
    rows = [
        [_cell(name), *(_cell(f"{value:.3f}", "number") for value in values)]
        for name, values in zip(found.names, found.overlaps, strict=True)
    ]
    return [f"<h2>Overlap</h2><p>{escape(OVERLAP)}</p>", _table(["", *found.names], rows)]


def _answers(found: Comparison) -> list[list[str]]:
    rows = []
    for index, prompt in enumerate(found.prompts.prompts):
        first = found.answers[0].said[index].text
        cells = [_cell(f"{prompt.name}\n{prompt.text}", "prompt")]
        for number, answers in enumerate(found.answers):
            text = answers.said[index].text
            cells.append(_cell(text, "said same" if number and text == first else "said"))
        rows.append(cells)
    return rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="wide"><table>\n<tr>{top}</tr>\n{body}\n</table></div>'


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"
