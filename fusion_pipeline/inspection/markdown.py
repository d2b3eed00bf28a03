"""The findings as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_pipeline.inspection import words
from fusion_pipeline.inspection.facets import DECIDER
from fusion_pipeline.inspection.rows import (
    Rows,
    cka_rows,
    effect_rows,
    entropy_rows,
    facet_effect_rows,
    facet_rows,
)


def markdown(found: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """The report, with links to the pictures beside it."""
    parts = [f"# What the fusion {found['run']} listens to", _origin(found)]
    for task in found["targets"]:
        parts += _target(found, task)
    if found["redundancy"]:
        text = words.REDUNDANCY.format(tokens=found["redundancy"]["tokens"])
        parts += [
            "## How alike the adapters are",
            text,
            table(cka_rows(found["redundancy"], found["adapters"])),
        ]
    parts += [f"![{name.removesuffix('.png')}]({name})" for name in pictures]
    parts += ["Made with:", f"```\n{found['command']}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _origin(found: Mapping[str, Any]) -> str:
    sums = words.ONE if found["sums_to_one"] else words.NOT_ONE
    data = "; ".join(dict.fromkeys(f"{entry['task']} from {entry['source']}" for entry in found["data"]))
    return (
        f"A `{found['fusion']}` fusion of {', '.join(found['adapters'])}, on {data}, split {found['split']}; backbone "
        f"{found['backbone']['name']}. {sums} [inspect.html](inspect.html) shows sentences token by token."
    )


def _target(found: Mapping[str, Any], task: str) -> list[str]:
    told, adapters = found["targets"][task], found["adapters"]
    count = max(0, 2 * len(adapters))
    parts = [f"## {task}", words.summary(found, task), table(effect_rows(found, task))]
    if told["effects"]:
        parts.append(words.EFFECTS.format(resamples=found["resamples"], count=count))
    for facet in told["facets"]:
        parts.append(f"### By {facet}")
        parts.append(words.DECIDER if facet == DECIDER else "")
        parts.append(table(facet_rows(told, facet, adapters)))
        parts.append(table(facet_effect_rows(told, facet, adapters)))
    parts += ["### Entropy", words.ENTROPY, table(entropy_rows(told)), "### Who listens most", *_most(told)]
    return parts


def _most(told: Mapping[str, Any]) -> list[str]:
    if told["most"] is None:
        return [words.ALIKE]
    lines = []
    for adapter, examples in told["most"].items():
        lines.append(f"To **{cell(adapter)}**:")
        rows: Rows = [("weight", "text", "label", "answer")]
        rows += [
            (f"{one['weight']:.3f}", " ‖ ".join(one["inputs"]), one["label"], one["said"]) for one in examples
        ]
        lines.append(table(rows))
    return lines


def table(rows: Rows) -> str:
    """A Markdown table; empty without rows."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def cell(text: str) -> str:
    """Text that neither ends a cell nor becomes markup."""
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    for sign in "*_`[":
        escaped = escaped.replace(sign, "\\" + sign)
    return " ".join(escaped.split())
