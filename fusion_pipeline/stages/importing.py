"""Takes over adapters, heads and fusions that another library saved, as artefacts of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline.artefact_json import task_specs
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.interop.formats import Imported
    from fusion_pipeline.model import AdaptedModel


def run(run: Run) -> None:
    """Reads `path=` in the format `format=` and publishes what is in it below `output_root`."""
    from fusion_pipeline.interop.formats import fetch_folder, find_format

    path = str(run.required("path", example="path=FOLDER format=adapterhub backbone.path=BASE"))
    name = run.value("name")
    if name is not None:
        run.artefact_name("")
    reader = find_format(run.value("format"))
    folder = fetch_folder(path)
    head = None if run.value("head_path") is None else fetch_folder(str(run.value("head_path")))

    from fusion_pipeline.backbone.loading import load_backbone
    from fusion_pipeline.model import AdaptedModel
    from fusion_pipeline.specs import read_backbone

    model = AdaptedModel(load_backbone(read_backbone(run)))
    run.console.print(f"import: {path} ({run.value('format')}) | backbone: {model.info.name}", soft_wrap=True)
    parents = _parents(run, model, reader.needs(folder))
    found = reader.read(model, folder, head=head, adapters=list(parents))
    _publish(run, model, found, parents, folder)


def _parents(run: Run, model: AdaptedModel, needed: list[str]) -> dict[str, Path]:
    """Adapters of ours that an imported fusion refers to, under their names there."""
    from fusion_pipeline import store
    from fusion_pipeline.artefacts import load_adapter_into
    from fusion_pipeline.errors import PipelineError

    given = run.names("adapters") or needed
    if len(given) != len(needed):
        raise PipelineError(
            f"the fusion is made of {', '.join(needed) or 'nothing'}, and {len(given)} adapters are named",
            where="adapters",
            hint="name one for each, in its order",
        )
    found = {}
    for name, value in zip(needed, given, strict=True):
        folder = store.find(value, run.output_root / "adapters", where="adapters")
        found[load_adapter_into(model, folder, name, head=False)] = folder
    return found


def _publish(run: Run, model: AdaptedModel, found: Imported, parents: dict[str, Path], source: Path) -> None:
    from fusion_pipeline.interop.publishing import Publishing

    plan = Publishing(run=run, model=model, found=found, source=source)
    saved: list[Path] = []
    if run.dry_run:
        run.console.print("dry run: everything was read and fits, nothing was written")
    elif run.is_main_process:
        saved = plan.execute(parents)
    for note in found.notes:
        run.console.print(f"  note: {note}", soft_wrap=True, markup=False)
    for path in saved:
        run.console.print(f"artefact: {path}", soft_wrap=True)
    _next(run, saved)


def _next(run: Run, saved: list[Path]) -> None:
    if saved and task_specs(saved[-1]):
        run.console.print(
            f'next:  python -m fusion_pipeline stage=predict run={saved[-1]} text="..."',
            soft_wrap=True,
            markup=False,
        )
