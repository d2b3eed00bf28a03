"""Whether an artefact was made with the settings that a run of a comparison has, told before anything is loaded.

Data and backbone are not looked at here: the run itself does that, and refuses to go on from others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion_pipeline.artefacts import weights_sha256
from fusion_pipeline.compare.contenders import PLACES
from fusion_pipeline.compare.plan import SOURCE, Planned
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run
from fusion_pipeline.specs import SECTIONS, identity
from fusion_pipeline.store import MANIFEST, Manifest

_SILENT = ("stage", "logging", "hydra")


def wanted_settings(config: Mapping[str, Any], planned: Planned, parents: Sequence[Path]) -> dict[str, Any]:
    """What the artefact's manifest says of the settings, its adapters with the sha256 of their weights."""
    run = Run.from_config(dict(config) | {"name": "any"})
    others = {group for group in PLACES if group != run.stage}
    if planned.role == SOURCE:
        others.add("unfreeze")
    hidden = {*_SILENT, *SECTIONS, *others}
    sections = tuple(key for key, value in config.items() if isinstance(value, dict) and key not in hidden)
    lineage = [{"name": folder.name, "sha256": weights_sha256(folder)} for folder in parents]
    alone = run.value("target") is None
    task = {"task": planned.task} if alone else {"target": [planned.task, *planned.tasks]}
    plain: dict[str, Any] = json.loads(json.dumps(identity(run, sections, **task)))
    return plain | {"adapters": lineage}


def choose(
    root: Path, names: Sequence[str], wanted: Mapping[str, Any], *, overwrite: bool
) -> tuple[Path, bool]:
    """The folder of a run among `names` (others, then plain, then its very own), and whether the artefact is there.

    An artefact or a half-done run of these settings is gone on with. Otherwise it is the plain name, or its
    very own where the plain one belongs to other settings.
    """
    plain, own = names[-2:]
    if overwrite:
        return root / plain, False
    states = {name: _state(root / name, wanted) for name in dict.fromkeys(names)}
    for name, state in states.items():
        if state is not None and state != "other":
            return root / name, state == "there"
    return root / (own if states[plain] == "other" else plain), False


def _state(folder: Path, wanted: Mapping[str, Any]) -> str | None:
    """'there', 'begun', 'other' (it belongs to other settings), or None where nothing lies."""
    if (folder / MANIFEST).is_file():
        try:
            return "there" if _same(Manifest.read(folder).config, wanted) else "other"
        except PipelineError:
            return "other"
    begun = folder.parent / f".{folder.name}.work" / "config.json"
    if not begun.is_file():
        return None
    try:
        return "begun" if _same(json.loads(begun.read_text(encoding="utf-8")), wanted) else "other"
    except ValueError:
        return "other"


def _same(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether all that is recorded and known here agrees."""
    known = [key for key in recorded if key in wanted and (recorded[key] or wanted[key])]
    return all(_agree(recorded[key], wanted[key]) for key in known)


def _agree(old: Any, new: Any) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        # An option that came later and is not used was not recorded.
        return old.keys() <= new.keys() and all(
            _agree(old[key], value) if key in old else not value for key, value in new.items()
        )
    if isinstance(old, str) and isinstance(new, list):
        return [old] == new
    return bool(old == new)
