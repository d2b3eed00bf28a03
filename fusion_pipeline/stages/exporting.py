"""Writes an artefact of ours in another library's format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.interop.placing import check_place, placed
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel


def run(run: Run) -> None:
    """Writes `run=` into the folder `output=` in the format `format=`; of several heads those that `task=` names."""
    source = Path(str(run.required("run", example="run=outputs/fusion/rte"))).expanduser()
    output = Path(str(run.required("output", example="output=FOLDER"))).expanduser()

    from fusion_pipeline.interop.formats import find_format

    writer = find_format(run.value("format"))
    manifest = store.verify(source)
    if manifest.kind == "model" and not writer.WHOLE:
        raise PipelineError(
            f"format={run.value('format')} has no place for a fine-tuned backbone",
            where="format",
            hint="format=huggingface",
        )
    check_place(output, writer.holds, overwrite=run.overwrite, what="export")

    from fusion_pipeline.artefacts import load_model

    model = load_model(
        source, adapters=run.names("adapters") or None, backbone=run.section("backbone").get("path")
    )
    _keep_heads(run, model)
    run.console.print(
        f"export: {manifest.kind} '{manifest.name}' | backbone: {model.info.name}", soft_wrap=True
    )
    if run.dry_run:
        run.console.print("dry run: everything was checked, nothing was written")
        return
    if not run.is_main_process:
        return
    with placed(output) as aside:
        notes = writer.write(model, aside)
    for note in notes:
        run.console.print(f"  note: {note}", soft_wrap=True, markup=False)
    run.console.print(f"saved: {output}", soft_wrap=True)


def _keep_heads(run: Run, model: AdaptedModel) -> None:
    """Drops the heads that `task=` does not name, where it names any."""
    wanted, there = run.names("task"), model.heads.names()
    for name in wanted:
        if name not in there:
            raise PipelineError(f"there is no head '{name}'", where="task", hint=did_you_mean(name, there))
    for name in there if wanted else ():
        if name not in wanted:
            model.heads.drop(name)
