"""Runs a base and adapters on it over the same prompts and shows what each says, side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline.interop.placing import check_place, placed
from fusion_pipeline.prompting.questions import PromptSet, read_prompts, read_reference
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fusion_pipeline.prompting.base import Base
    from fusion_pipeline.prompting.contenders import Contender
    from fusion_pipeline.prompting.results import Comparison

RESULTS = "results.json"


def run(run: Run) -> None:
    """Answers `prompts=` with `base=` and every one of `adapters=`, into `output=`."""
    path = str(run.required("base", example="base=FOLDER_OR_HUB_ID of a causal language model"))
    prompts = _prompts(run)
    output = _output(run, path)

    from fusion_pipeline.prompting.contenders import find_contenders
    from fusion_pipeline.prompting.spec import GenerationSpec
    from fusion_pipeline.specs import plain_spec

    spec: GenerationSpec = plain_spec(GenerationSpec, run, "generation")
    contenders = find_contenders(run.names("adapters"), run.output_root / "adapters")

    from fusion_pipeline.prompting.base import load_base
    from fusion_pipeline.prompting.results import compare
    from fusion_pipeline.workflow import command_line

    base = load_base(path, spec.dtype)
    _say(run, base, contenders, prompts)
    _check_fit(base, contenders)
    if run.dry_run:
        run.console.print("dry run: everything was checked and fits, nothing was written")
        return
    found = compare(
        base, contenders, prompts, spec, seed=run.seed, command=command_line(), console=run.console
    )
    if run.is_main_process:
        write(found, output)
        show(run, found)
        run.console.print(f"saved: {output}", soft_wrap=True)


def write(found: Comparison, output: Path) -> None:
    """results.json, report.md and report.html: written aside, then renamed."""
    from fusion_pipeline.prompting.html import page
    from fusion_pipeline.prompting.markdown import markdown
    from fusion_pipeline.workflow import write_json

    with placed(output) as folder:
        write_json(folder / RESULTS, found.to_json())
        (folder / "report.md").write_text(markdown(found), encoding="utf-8")
        (folder / "report.html").write_text(page(found), encoding="utf-8")


def show(run: Run, found: Comparison) -> None:
    """A line a contender."""
    from rich.table import Table

    from fusion_pipeline.prompting.markdown import HEADER, measures

    table = Table("contender", *HEADER, "overlap with base")
    for answers, overlap in zip(found.answers, found.overlaps[0], strict=True):
        table.add_row(answers.contender.name, *measures(answers), f"{overlap:.3f}")
    run.console.print(table)


def _prompts(run: Run) -> PromptSet:
    given = run.required("prompts", example="prompts=general, or prompts=FILE.yaml")
    found = read_prompts(str(given))
    reference = run.value("reference")
    return found if reference is None else replace(found, reference=read_reference(str(reference)))


def _output(run: Run, base: str) -> Path:
    """`output=`, or <output_root>/prompts/<name>; only a former comparison is replaced, with `overwrite=true`."""
    from fusion_pipeline.store.names import safe_name

    given = run.value("output")
    name = run.artefact_name(safe_name(Path(base).name))
    folder = run.output_root / "prompts" / name if given is None else Path(str(given)).expanduser()
    check_place(folder, _is_comparison, overwrite=run.overwrite, what="comparison of prompts")
    return folder


def _is_comparison(folder: Path) -> bool:
    try:
        content = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"contenders", "answers"} <= content.keys()


def _check_fit(base: Base, contenders: Sequence[Contender]) -> None:
    """Every adapter is put on and taken off once, so that the last is refused before the first has run."""
    from fusion_pipeline.prompting.contenders import running

    for contender in contenders:
        with running(base, contender):
            pass


def _say(run: Run, base: Base, contenders: Sequence[Contender], prompts: PromptSet) -> None:
    names = ", ".join(contender.name for contender in contenders)
    run.console.print(
        f"prompts: {len(prompts.prompts)} of {prompts.source} | base: {base.name} | {names}",
        soft_wrap=True,
        markup=False,
    )
