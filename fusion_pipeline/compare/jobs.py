"""The runs a comparison is made of; each is an ordinary run of stage 1 or 2 that leaves an ordinary artefact."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from fusion_pipeline.run import Run


def job_run(run: Run, *, stage: str, seed: int, name: str, overlay: Mapping[str, Any], **values: Any) -> Run:
    """The run of one job: the comparison's config with this job's stage, seed, name and sections laid over."""
    config = _laid_over(deepcopy(run.config), overlay)
    config |= {"seed": seed, "name": name, **values}
    # A job goes on from its own checkpoints where a comparison was interrupted.
    return replace(run, config=config, stage=stage, seed=seed, name_suffix="", resume=True)


def _laid_over(config: dict[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(config.get(key), dict):
            config[key] = _laid_over(config[key], value)
        else:
            config[key] = value
    return config
