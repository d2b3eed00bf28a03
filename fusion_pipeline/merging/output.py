"""From a plan to a folder on disk: checked first, written aside, renamed into place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.figures import RECORD, Figures, identity, notes
from fusion_pipeline.merging.formats import writer
from fusion_pipeline.merging.heads import head_source
from fusion_pipeline.merging.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How a plan is written.

    Args:
        output: The folder that the merged adapter becomes.
        form: Its format; None for the first input's.
        overwrite: Replace another adapter of that format that lies there.
        head_from: The input whose heads a native adapter gets; `none` for none; None for the first that has any.
        backbone: For a native adapter made of others' alone: what a manifest says of the backbone (`backbone`), its
            config (`config`) and the widths of its linears (`widths`).
        command: What a person typed, for the card.
    """

    output: Path
    form: str | None = None
    overwrite: bool = False
    head_from: str | None = None
    backbone: Mapping[str, Any] | None = None
    command: str = ""
    figures: Figures = field(default_factory=Figures)

    def of(self, plan: Plan) -> str:
        """The format that is written."""
        return self.form or plan.sources[0].format


def check_output(plan: Plan, writing: Writing) -> None:
    """Everything that can be refused before a merge begins, numbers in the files included."""
    place = writing.output.resolve()
    for source in plan.sources:
        folder = source.folder.resolve()
        if place == folder or place.is_relative_to(folder) or folder.is_relative_to(place):
            raise PipelineError(
                f"the output would lie in or over the input '{source.name}'",
                where="output",
                hint="another output=FOLDER",
            )
    writer(writing.of(plan)).check(plan, writing)
    plan.check_numbers()


def made_of(plan: Plan, writing: Writing) -> dict[str, Any]:
    """Everything that the written adapter depends on, its heads and backbone included."""
    form = writing.of(plan)
    heads = head_source(plan, writing.head_from) if form == "native" else None
    given = (writing.backbone or {}).get("backbone", {})
    return identity(plan, form=form) | {
        "head_from": heads.name if heads else None,
        "backbone": given.get("fingerprint"),
    }


def is_written(plan: Plan, writing: Writing) -> bool:
    """Whether this very merge lies in the output folder already."""
    path = writing.output / RECORD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = json.loads(json.dumps(made_of(plan, writing)))
    return isinstance(found, dict) and {key: found.get(key) for key in wanted} == wanted


def write_merge(plan: Plan, writing: Writing) -> dict[str, Any]:
    """Checks, merges, writes; returns what `merge.json` holds. Nothing is left of a merge that fails."""
    check_output(plan, writing)
    form = writing.of(plan)
    with writer(form).place(plan, writing) as folder:
        more = writer(form).write(plan, writing, folder)
        record = made_of(plan, writing) | writing.figures.record(plan, form=form, notes=[*notes(plan), *more])
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (folder / RECORD).write_text(text, encoding="utf-8")
    return record
