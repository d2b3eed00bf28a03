"""Runs of one contender with different settings: told apart, named by what differs, and none mixed with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from fusion_pipeline.compare.results import Outcome
from fusion_pipeline.compare.words import plural

# What differs from run to run of one contender: seeds, data and what it stands on.
_NOT_SETTINGS = {
    *("stage", "seed", "task", "target", "adapters", "init", "data_fingerprint", "backbone_weights"),
    *("data.train_sizes", "data.draw", "data.root"),
}
_MOST = 3
Group = list[Outcome]


def name_variants(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[str]]:
    """The runs, each variant of a contender under a name of its own, and notes on what was left out.

    Of several variants the one with the most seeds, and of those the best on validation, bears the contender's name.
    Those with fewer seeds (such as trials of learning rates) are left out.
    """
    kept: list[Outcome] = []
    notes: list[str] = []
    for group in _by_contender(outcomes):
        named, told = _named(group)
        kept += named
        notes += told
    return kept, notes


def _by_contender(outcomes: Sequence[Outcome]) -> list[Group]:
    found: dict[tuple[str, str, int | None], Group] = {}
    for outcome in outcomes:
        found.setdefault((outcome.task.name, outcome.contender, outcome.train_size), []).append(outcome)
    return list(found.values())


def _named(group: Group) -> tuple[Group, list[str]]:
    variants: dict[tuple[tuple[str, str], ...], Group] = {}
    for outcome in group:
        variants.setdefault(tuple(sorted(settings(outcome).items())), []).append(outcome)
    notes = [note for runs in variants.values() for note in _drop_twins(runs)]
    ordered = sorted(variants.values(), key=_rank)
    most = len(ordered[0])
    named = list(ordered[0])
    for runs in ordered[1:]:
        label = _difference(settings(ordered[0][0]), settings(runs[0]))
        if len(runs) == most:
            named += [replace(outcome, contender=f"{outcome.contender}, {label}") for outcome in runs]
        else:
            first = runs[0]
            number = plural(len(runs), "run")
            what = f"{first.contender} on {first.task.name} with {label}"
            notes.append(f"Left out: {number} of {what}: fewer seeds than the others.")
    return named, notes


def settings(outcome: Outcome) -> dict[str, str]:
    """What makes a run the variant it is: its config, flat, as text."""
    flat: dict[str, str] = {}
    _flatten(outcome.manifest.config, "", flat)
    return flat


def _flatten(values: Mapping[str, Any], prefix: str, into: dict[str, str]) -> None:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name in _NOT_SETTINGS:
            continue
        if isinstance(value, Mapping):
            _flatten(value, f"{name}.", into)
        else:
            into[name] = str(value)


def _drop_twins(runs: Group) -> list[str]:
    """Of several runs with one seed over adapters of one seed, the first by name is kept."""
    runs.sort(key=lambda o: (o.seed, str(o.stage1_seed), o.folder.name))
    firsts = {(o.seed, o.stage1_seed): o for o in reversed(runs)}
    twins = [o for o in runs if firsts[o.seed, o.stage1_seed] is not o]
    runs[:] = [o for o in runs if firsts[o.seed, o.stage1_seed] is o]
    return [f"Left out: {o.folder.name}, which has the settings and seed of another run." for o in twins]


def _rank(runs: Group) -> tuple[int, float, str]:
    return -len(runs), -mean(outcome.score("validation") for outcome in runs), runs[0].folder.name


def _difference(base: Mapping[str, str], other: Mapping[str, str]) -> str:
    """The settings that differ, kinds alone where they do."""
    keys = [key for key in {**base, **other} if base.get(key) != other.get(key)]
    kinds = [key for key in keys if key.endswith(".kind")]
    chosen = kinds or keys
    told = ", ".join(f"{key}={other.get(key, 'unset')}" for key in chosen[:_MOST])
    return told + (f" and {len(chosen) - _MOST} more" if len(chosen) > _MOST else "")
