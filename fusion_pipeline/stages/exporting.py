"""Writes an artefact of ours in another library's format."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.interop.formats import Format
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
    _check_output(run, writer, output)

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
    notes = _write(writer, model, output)
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


def _write(writer: Format, model: AdaptedModel, output: Path) -> list[str]:
    """Writes aside, then renames: a former export is replaced whole or not at all."""
    aside, former = (output.with_name(f".{output.name}.{word}") for word in ("writing", "former"))
    try:
        with store.disk_errors(output):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            notes = writer.write(model, aside)
            if output.exists():
                shutil.rmtree(former, ignore_errors=True)  # of an export that was killed
                output.rename(former)
            aside.rename(output)
            shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return notes


def _check_output(run: Run, writer: Format, output: Path) -> None:
    """Only a folder that is not there or empty is written to, or with `overwrite=true` a former export."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not writer.holds(output):
        raise PipelineError(
            "something that is no export lies where this one should go",
            where=str(output),
            hint="another output=FOLDER",
        )
    if not run.overwrite:
        raise PipelineError(
            "an export lies here already", where=str(output), hint="overwrite=true replaces it"
        )
