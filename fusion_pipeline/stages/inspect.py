"""Shows what a trained fusion listened to; the fusion itself is not changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fusion_pipeline import store
from fusion_pipeline.artefact_json import read_model, task_specs
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import task_type

if TYPE_CHECKING:
    from fusion_pipeline.tasks.spec import TaskSpec

Given = tuple["TaskSpec", list[Any]]
"""The head that answers, and the texts it is asked about."""


def run(run: Run) -> None:
    """Looks at the fusion `run=` on its own data, or `task=`'s, and writes `inspect/<name>`."""
    folder = Path(str(run.required("run", example="run=outputs/fusion/rte"))).expanduser()
    manifest = store.verify(folder)
    if "fusion" not in read_model(folder):
        _refuse(manifest)

    from fusion_pipeline.inspection.spec import InspectSpec
    from fusion_pipeline.specs import plain_spec

    spec: InspectSpec = plain_spec(InspectSpec, run, "inspect")
    given = given_texts(run, task_specs(folder))

    from fusion_pipeline.evaluation_data import load_evaluation_data

    tasks = load_evaluation_data(run, folder, manifest)

    from fusion_pipeline.stages.inspecting import inspect

    inspect(run, spec, folder, manifest, tasks, given)


def _refuse(manifest: store.Manifest) -> None:
    raise PipelineError(
        f"'{manifest.name}' ({manifest.kind}) is no fusion: it listens to one thing, and there are no weights to see",
        where="run",
        hint=f"stage=evaluate scores it; stage=fusion adapters=[{manifest.name},...] target=... fuses it with others, "
        "and that can be inspected",
    )


def given_texts(run: Run, heads: Sequence[TaskSpec]) -> Given | None:
    """The texts of `text=` and `text_pair=`, one or a list of them, for the first head that reads such; else None."""
    texts, seconds = _several(run, "text"), _several(run, "text_pair")
    if texts is None and seconds is None:
        return None
    if texts is None or (seconds is not None and len(seconds) != len(texts)):
        raise PipelineError(
            f"text= has {len(texts or ())} texts and text_pair= {len(seconds or ())}",
            where="text_pair",
            hint='text=["one", "two"] text_pair=["its second", "its second"]',
        )
    items = texts if seconds is None else list(zip(texts, seconds, strict=True))
    for head in heads:
        if _reads(head, items, pair=seconds is not None):
            return head, items
    listed = ", ".join(f"{head.name} ({' and '.join(head.text)})" for head in heads)
    what = "pairs of texts" if seconds is not None else "single texts"
    raise PipelineError(
        f"no head reads {what}: {listed}", where="text", hint="leave text= out, or text_pair="
    )


def _several(run: Run, key: str) -> list[str] | None:
    """A text, or the texts of a bracketed list."""
    value = run.value(key)
    if value is None or isinstance(value, list):
        return value
    text = str(value)
    if text.startswith("[") and text.endswith("]"):
        try:
            listed = yaml.safe_load(text)
        except yaml.YAMLError:
            return [text]  # "[sic]: the text [...]" is a text
        return [str(one) for one in listed] if isinstance(listed, list) and listed else [text]
    return [text]


def _reads(head: TaskSpec, items: Sequence[Any], *, pair: bool) -> bool:
    kind = task_type(head.type)
    if not (isinstance(kind, RowType) and kind.fields):
        return head.has_pair == pair
    try:
        for item in items:
            kind.given(item)
    except ValueError:
        return False
    return True
