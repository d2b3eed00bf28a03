"""A comparison at wandb: one run in the group of its jobs, with the table, the pictures and the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_pipeline.reporting.tracking import tracking
from fusion_pipeline.run import Run
from fusion_pipeline.workflow import tracking_spec


def track_comparison(
    run: Run,
    *,
    name: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    folder: Path,
    weights: dict[str, Any] | None = None,
) -> None:
    """Records a finished comparison; nothing with `logging=none`.

    `rows` are the report's table under `columns`: texts, numbers or None. `weights` {target: {site: …}} is what the
    fusions listened to.
    """
    job = tracking(
        tracking_spec(run),
        root=run.output_root,
        name=f"compare-{name}",
        job_type=run.stage,
        config=run.config,
        main=run.is_main_process,
        group=name,
        tags=[f"target:{target}" for target in weights or {}],
    )
    with job as track:
        track.table("comparison", columns, rows)
        if weights:
            track.weights(weights, 0)
        track.pictures(folder)
        track.artefact(folder, "comparison", {"columns": list(columns)})
