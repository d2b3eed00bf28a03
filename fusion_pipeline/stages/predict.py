"""Labels a text or a file with a trained adapter or fusion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline import store
from fusion_pipeline.artefact_json import task_specs
from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.run import Run
from fusion_pipeline.tasks.task_type import Answer, RowType, answer_json
from fusion_pipeline.tasks.types import task_type

if TYPE_CHECKING:
    from fusion_pipeline.prediction import Prediction
    from fusion_pipeline.tasks.spec import TaskSpec


def run(run: Run) -> None:
    """Predicts for `text=` (and `text_pair=`, `choices=`), or for every row of `input=` into `output=`."""
    folder = Path(str(run.required("run", example="run=outputs/fusion/rte"))).expanduser()
    manifest = store.verify(folder)

    specs = {spec.name: spec for spec in task_specs(folder)}
    task = _task(run, list(specs))
    output = _output(run)
    rows = _input(run, specs[task])
    texts = _texts(rows, specs[task])
    if run.dry_run:
        run.console.print(f"dry run: {len(texts):,} rows were checked, nothing was predicted")
        return

    from fusion_pipeline.artefacts import load_model

    model = load_model(
        folder, adapters=run.names("adapters") or None, backbone=run.section("backbone").get("path")
    )
    run.console.print(
        f"predict: {manifest.kind} '{manifest.name}', task {task} | backbone: {model.info.name}",
        soft_wrap=True,
    )
    answers = model.predict(
        texts, task=task, fusion_weights=output is None and model.active_fusion is not None
    )
    if output is None:
        _show(run, rows, specs[task], answers)
    elif run.is_main_process:
        _write(output, rows, answers)
        run.console.print(f"saved: {output} ({len(answers):,} rows)", soft_wrap=True)


def _task(run: Run, heads: list[str]) -> str:
    given = run.names("task")
    if not heads:
        raise PipelineError(
            "this artefact has no head: it gives hidden states, no labels",
            where="run",
            hint="stage=fusion adapters=[...] trains one over it; stage=import head_path=FOLDER brings one",
        )
    if not given and len(heads) == 1:
        return heads[0]
    if len(given) != 1 or given[0] not in heads:
        said = given[0] if given else ""
        raise PipelineError(
            f"say which head answers: {', '.join(heads)}", where="task", hint=did_you_mean(said, heads)
        )
    return given[0]


def _input(run: Run, spec: TaskSpec) -> list[dict[str, Any]]:
    """Rows `{"text", "text_pair"?}` from the command line or a file."""
    text, second, path = run.value("text"), run.value("text_pair"), run.value("input")
    if (text is None) == (path is None):
        raise PipelineError(
            "predict needs one of text= and input=",
            where="text",
            hint='text="..." or input=file.jsonl output=out.jsonl',
        )
    if path is not None:
        from fusion_pipeline.specs import read_columns
        from fusion_pipeline.tasks.inputs import load_inputs

        return load_inputs(str(path), spec, read_columns(run))
    kind = task_type(spec.type)
    choices = run.names("choices")
    if isinstance(kind, RowType) and kind.fields:
        return _typed_input(kind, text, second, choices)
    if choices:
        raise PipelineError(f"task {spec.name} reads no choices", where="choices", hint="leave choices= out")
    if spec.has_pair != (second is not None):
        what = "two texts, and only one is given" if spec.has_pair else "one text, and two are given"
        raise PipelineError(
            f"task {spec.name} reads {what}", where="text_pair", hint='text="..." text_pair="..."'
        )
    return [{"text": str(text)} | ({} if second is None else {"text_pair": str(second)})]


def _typed_input(kind: RowType, text: Any, second: Any, choices: Sequence[str]) -> list[dict[str, Any]]:
    """One row of a type with fields of its own, from the command line."""
    try:
        return [kind.given(kind.asked(str(text), None if second is None else str(second), choices))]
    except ValueError as error:
        raise PipelineError(
            f"the text {error}", where="text", hint="input=file.jsonl output=out.jsonl"
        ) from None


def _texts(rows: list[dict[str, Any]], spec: TaskSpec) -> list[Any]:
    if isinstance(task_type(spec.type), RowType):
        return [tuple(row.values()) if len(row) > 1 else next(iter(row.values())) for row in rows]
    if spec.has_pair:
        return [(row["text"], row["text_pair"]) for row in rows]
    return [row["text"] for row in rows]


def _output(run: Run) -> Path | None:
    given = run.value("output")
    if given is None and run.value("input") is not None:
        raise PipelineError(
            "input= needs output=, the file to write", where="output", hint="output=out.jsonl"
        )
    if given is None:
        return None
    path = Path(str(given)).expanduser()
    if path.exists() and not run.overwrite:
        raise PipelineError("this file is already there", where=str(path), hint="overwrite=true replaces it")
    return path


def _write(path: Path, rows: list[dict[str, Any]], answers: list[Prediction]) -> None:
    aside = path.with_name(f".{path.name}.partial")
    with store.disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            for row, answer in zip(rows, answers, strict=True):
                file.write(json.dumps({**row, **_said(answer)}, ensure_ascii=False) + "\n")
        aside.replace(path)


def _said(answer: Prediction) -> dict[str, Any]:
    if answer.answer is not None:
        return answer_json(Answer(prediction=answer.answer, probabilities=answer.probabilities))
    if answer.label is None or answer.probabilities is None:
        return {"prediction": answer.value}
    return {
        "prediction": answer.label,
        "probabilities": {name: round(p, 6) for name, p in answer.probabilities.items()},
    }


def _show(run: Run, rows: Sequence[dict[str, Any]], spec: TaskSpec, answers: Sequence[Prediction]) -> None:
    import numpy as np
    from rich.table import Table

    for row, answer in zip(rows, answers, strict=True):
        said = [" ".join(v) if key == "tokens" else str(v) for key, v in row.items() if v]
        run.console.print(" | ".join(said), markup=False)
        run.console.print(f"  {_shown(spec, row, answer)}", markup=False, soft_wrap=True)
        if answer.fusion_weights:
            table = Table("token", *answer.adapters, title="mean weight over layers", title_justify="left")
            mean = np.mean(list(answer.fusion_weights.values()), axis=0)
            for token, weights in zip(answer.tokens, mean, strict=True):
                table.add_row(token, *(f"{w:.2f}" for w in weights))
            run.console.print(table)


def _shown(spec: TaskSpec, row: dict[str, Any], answer: Prediction) -> str:
    kind = task_type(spec.type)
    if isinstance(kind, RowType):
        return kind.shown(Answer(prediction=answer.answer, probabilities=answer.probabilities), row)
    if answer.probabilities is None:
        return f"{answer.value:.4f}"
    listed = ", ".join(f"{name} {p:.3f}" for name, p in answer.probabilities.items())
    return f"{answer.label}  ({listed})"
