"""A run that goes on from an artefact: its data and backbone in place of the command line's."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fusion_pipeline.artefacts import backbone_spec
from fusion_pipeline.evaluation_data import evaluation_source
from fusion_pipeline.registry import config_file, load_yaml
from fusion_pipeline.run import Run
from fusion_pipeline.store import Manifest


def derived_run(run: Run, folder: Path, manifest: Manifest, *, tasks_as: str, **sections: Any) -> Run:
    """The run with the config that makes another artefact from this one.

    What it leaves can be scored again like any other: `tasks_as` is the key (`task` or `target`) under which the
    tasks are recorded. `sections` replace further parts of the config.
    """
    values, data, columns = evaluation_source(run, folder, manifest)
    given = run.section("backbone")
    spec = backbone_spec(manifest, given.get("path"))
    # How it trains is for the command line to say, what it is for the artefact.
    spec = replace(spec, dropout=given.get("dropout", spec.dropout))
    config = run.config | {
        "task": None,
        "target": None,
        tasks_as: values,
        "data": run.section("data") | asdict(data),
        "columns": asdict(columns),
        "backbone": section_of("backbone", spec),
    }
    return replace(run, config=config | sections)


def section_of(group: str, spec: Any) -> dict[str, Any]:
    """The config section that composes to a spec."""
    return load_yaml(config_file(group, spec.kind)) | asdict(spec)
