"""What a comparison keeps as its runs end: `results.csv`, which only grows, and `plan.json`."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusion_pipeline import store
from fusion_pipeline.compare.board import Board, Entry, read_metrics, score
from fusion_pipeline.compare.plan import TRIAL
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks.spec import TaskSpec

COLUMNS = (
    "role",
    "target",
    "contender",
    "seed",
    "stage1_seed",
    "train_size",
    "learning_rate",
    "metric",
    "validation",
    "test",
    "trainable",
    "stored",
    "steps",
    "seconds",
    "peak_memory",
    "backbone",
    "config_hash",
    "artefact",
)
# What tells two rows apart: one artefact may be a trial and the run that came of it.
_KEY = ("role", "target", "contender", "seed", "train_size", "config_hash")


def config_hash(folder: Path) -> str:
    """sha256 of an artefact's manifest config, twelve digits."""
    config = json.dumps(Manifest.read(folder).config, sort_keys=True)
    return hashlib.sha256(config.encode()).hexdigest()[:12]


def learning_rate(folder: Path) -> float | None:
    """The learning rate that an artefact was trained with."""
    found = Manifest.read(folder).config.get("trainer", {}).get("learning_rate")
    return None if found is None else float(found)


def row(entry: Entry, task: TaskSpec) -> dict[str, Any]:
    """A finished run as a row; a trial has no test score, because nothing may be chosen by it."""
    planned, folder = entry.planned, entry.folder
    assert folder is not None
    metrics = read_metrics(folder)
    tested = None if planned.role == TRIAL else score(metrics, "test", task)
    parameters = metrics.get("parameters", {})
    values = {
        "role": planned.role,
        "target": planned.task,
        "contender": planned.contender,
        "seed": planned.seed,
        "stage1_seed": planned.stage1_seed,
        "train_size": planned.train_size,
        "learning_rate": learning_rate(folder),
        "metric": task.metric,
        "validation": score(metrics, "validation", task),
        "test": tested,
        "trainable": parameters.get("trainable"),
        "stored": parameters.get("stored"),
        "steps": metrics.get("steps"),
        "seconds": metrics.get("seconds"),
        "peak_memory": metrics.get("peak_memory"),
        "backbone": Manifest.read(folder).backbone.get("name"),
        "config_hash": config_hash(folder),
        "artefact": f"{folder.parent.name}/{folder.name}",
    }
    return {key: "" if value is None else value for key, value in values.items()}


def add_row(path: Path, values: dict[str, Any]) -> None:
    """Adds a row to a csv file unless it has it; the row of a run that was made anew takes the former one's place.

    The file is replaced as a whole, and keeps every other row it had.
    """
    with store.disk_errors(path), _alone(path):
        rows = _read(path)
        key = _key_of(values)
        former = next((one for one in rows if _key_of(one) == key), None)
        if former is not None and all(former.get(name) == str(value) for name, value in values.items()):
            return
        rows = [one for one in rows if one is not former]
        columns = list(dict.fromkeys([*(rows[0] if rows else ()), *COLUMNS]))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, values])
        replace_text(path, text.getvalue())


def write_plan(path: Path, board: Board, left_out: Sequence[str]) -> dict[str, Any]:
    """`plan.json`: every run and what became of it, how learning rates were chosen, and what is missing."""
    content = {
        "jobs": [_job(key, entry) for key, entry in board.entries.items()],
        "learning_rates": board.choices(),
        "left_out": [{"target": name, "source": name} for name in left_out],
        "missing": [_job(entry.planned.key, entry) for entry in board.missing()],
    }
    with store.disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return content


def replace_text(path: Path, text: str) -> None:
    """Writes a file aside and renames it, so that a killed run leaves the former one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _job(key: str, entry: Entry) -> dict[str, Any]:
    planned = entry.planned
    return {
        "name": key,
        "role": planned.role,
        "contender": planned.contender,
        "task": planned.task,
        "seed": planned.seed,
        "stage1_seed": planned.stage1_seed,
        "train_size": planned.train_size,
        "learning_rate": planned.learning_rate,
        "state": entry.state,
        "error": entry.error,
        "folder": None if entry.folder is None else f"{entry.folder.parent.name}/{entry.folder.name}",
    }


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _key_of(values: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(values.get(name, "")) for name in _KEY)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Several comparisons may write one study file: one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield
