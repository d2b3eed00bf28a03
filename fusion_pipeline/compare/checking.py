"""Every kind of run of a comparison, checked before the first trains: a wrong setting shows now, not after hours."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from fusion_pipeline.cli import trainer_fields
from fusion_pipeline.compare.contenders import PLACES
from fusion_pipeline.compare.jobs import Workshop
from fusion_pipeline.compare.plan import SOURCE, Planned
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import ConfigError, build_from, locate
from fusion_pipeline.run import Run
from fusion_pipeline.specs import read_specs


def check_runs(workshop: Workshop, planned: Iterable[Planned]) -> None:
    """Builds the specs of one run of each kind; the first mistake is a ConfigError that names the contender."""
    for one in _one_of_each(planned):
        with _named(one):
            config = workshop.config(one, [])
            trainer_fields.check_section(config["trainer"])
            run = Run.from_config(config)
            read_specs(run)
            if run.stage in PLACES:
                build_from(run.section(run.stage), group=run.stage)


def rehearse(workshop: Workshop, planned: Iterable[Planned]) -> None:
    """A dry run of one run of each kind: data, backbone, adapters and fusion are built, nothing is trained."""
    for one in _one_of_each(planned):
        config = _rehearsal(workshop, one)
        if config is not None:
            with _named(one), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                locate(config["stage"]["_target_"], where="stage")(Run.from_config(config))


def _rehearsal(workshop: Workshop, planned: Planned) -> dict[str, Any] | None:
    """The config of a dry run that needs no trained adapters; None where there is no such thing."""
    config = workshop.config(planned, []) | {"name": "rehearsal", "dry_run": True, "overwrite": True}
    if not planned.parents:
        return config
    if config["stage"]["name"] != "fusion":
        return None
    # Fresh adapters stand for those that are still to be trained.
    unfreeze = config["unfreeze"] | {"adapters": True, "fresh": True}
    return config | {"adapters": list(planned.parents), "unfreeze": unfreeze}


def _one_of_each(planned: Iterable[Planned]) -> list[Planned]:
    found: dict[str, Planned] = {}
    for one in planned:
        found.setdefault(one.contender, one)
    return list(found.values())


@contextmanager
def _named(planned: Planned) -> Iterator[None]:
    """Says whose setting is wrong."""
    who = "source adapters" if planned.role == SOURCE else f"contender {planned.contender}"
    try:
        yield
    except PipelineError as error:
        where = who if error.where is None else f"{who}, {error.where}"
        raise ConfigError(error.what, where=where, hint=error.hint) from error
