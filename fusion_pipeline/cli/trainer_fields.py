"""The fields of transformers' TrainingArguments, read without importing transformers (that takes seconds)."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import did_you_mean
from fusion_pipeline.registry import ConfigError, config_dirs, load_yaml

GROUP = "trainer"
# What this project decides itself, and how to say it instead.
OURS = {
    "output_dir": "output_root= sets the folder, name= the artefact's name",
    "run_name": "name= sets it",
    "seed": "seed= sets it for everything",
    "report_to": "logging.mode=online, offline or disabled",
    "resume_from_checkpoint": "resume=true goes on from the last checkpoint",
    "do_train": "stage= says what is done",
    "do_eval": "stage= says what is done",
    "do_predict": "stage= says what is done",
    "push_to_hub": "nothing is uploaded",
    "remove_unused_columns": "batches hold only what the model takes",
    "logging_nan_inf_filter": "a loss that is no number stops the run",
    "label_names": "the task says which column holds the labels",
    "local_rank": "torchrun and accelerate set it",
}


@functools.cache
def fields() -> frozenset[str]:
    """The names of TrainingArguments' fields in the installed transformers."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ConfigError("transformers is not installed", where=GROUP)
    tree = ast.parse((Path(spec.origin).parent / "training_args.py").read_text(encoding="utf-8"))
    classes = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments"
    ]
    lines = [line for node in classes for line in node.body if isinstance(line, ast.AnnAssign)]
    return frozenset(line.target.id for line in lines if isinstance(line.target, ast.Name))


@functools.cache
def own_keys() -> frozenset[str]:
    """The keys of the trainer group's yaml files: what this project adds to TrainingArguments."""
    files = [path for folder in config_dirs() for path in (folder / GROUP).glob("*.yaml")]
    return frozenset(key for path in files for key in load_yaml(path, resolve=False))


def check(key: str) -> None:
    """Refuses `trainer.x` where x is no field, or one that this project sets itself."""
    name = key.split(".")[1]
    if name in OURS:
        raise ConfigError(f"{GROUP}.{name} is set by this project", where=key, hint=OURS[name])
    known = (fields() | own_keys()) - OURS.keys()
    if name not in known:
        raise ConfigError(f"there is no option '{name}'", where=key, hint=_nearest(name, known))


def check_section(section: dict[str, Any]) -> None:
    """The same for a composed trainer section, whose keys may stem from any yaml."""
    known = fields() | own_keys()
    for name in section:
        if name not in known:
            raise ConfigError(
                f"there is no option '{name}'", where=f"{GROUP}.{name}", hint=_nearest(name, known)
            )


def _nearest(name: str, known: frozenset[str]) -> str:
    hint = did_you_mean(name, known)
    # The list has a hundred names: only the guess helps.
    return (
        hint.partition(" (there are")[0] if hint.startswith("did you") else "any field of TrainingArguments"
    )
