"""Adapters that do not exist yet: trained together with their fusion, and saved inside its folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_pipeline import store
from fusion_pipeline.artefacts import write_adapter
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.run import Run
from fusion_pipeline.store.integrity import files_of
from fusion_pipeline.store.names import check_name


def fresh_names(run: Run) -> list[str]:
    """The names of `adapters=`, which need not exist; what cannot be a folder's name is refused."""
    names = [check_name(name, where="adapters") for name in run.names("adapters")]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PipelineError(f"two adapters are called '{twice[0]}'", where="adapters", hint="name each once")
    if run.value("init") is not None:
        raise PipelineError(
            "a fusion that goes on from another has trained adapters",
            where="unfreeze.fresh",
            hint="init= or unfreeze.fresh=true, not both",
        )
    return names


def write_fresh(
    model: AdaptedModel, names: Sequence[str], place: Path, *, config: dict[str, Any], seed: int, fusion: str
) -> dict[str, Path]:
    """One adapter artefact, without a head, for each name; their folders below `place`."""
    shutil.rmtree(place, ignore_errors=True)  # of a run that was stopped here
    folders = {name: place / name for name in names}
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        write_adapter(model, name, [], folder)
        manifest = store.Manifest(
            kind="adapter",
            name=name,
            config=config,
            seed=seed,
            backbone=model.info.describe(),
            notes=[f"trained from scratch together with the fusion '{fusion}'"],
        )
        replace(manifest, files=files_of(folder)).write(folder)
    return folders
