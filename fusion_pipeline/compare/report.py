"""Everything a comparison found, worked out once: what tables, plots, sentences and files are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fusion_pipeline.compare.comparing import Comparison, compare_all, reference_of
from fusion_pipeline.compare.curves import (
    Curve,
    Forgotten,
    few_example_curves,
    forgotten,
    joint,
    learning_curves,
)
from fusion_pipeline.compare.results import Outcome, fusion_weights
from fusion_pipeline.compare.summary import Mean, Row, means_over_targets, summarise


@dataclass(frozen=True, kw_only=True)
class Report:
    """A comparison, read from its runs.

    notes: how settings were selected. caveats: what could not be done. origin: backbone, data and versions, a line
    each.
    """

    reference: str
    rows: list[Row]
    comparisons: list[Comparison]
    means: list[Mean]
    joint: list[Comparison]
    forgotten: list[Forgotten]
    learning: list[Curve]
    few: list[Curve]
    weights: dict[str, Any]
    origin: list[str]
    command: str
    notes: list[str] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)

    @property
    def full(self) -> list[Row]:
        """The rows with all training data."""
        return [row for row in self.rows if row.train_size is None]

    @property
    def tested(self) -> list[Comparison]:
        """The comparisons with all training data, or all where there are none."""
        return [c for c in self.comparisons if c.train_size is None] or self.comparisons

    def to_json(self) -> dict[str, Any]:
        """Plain values for results.json."""
        found = {
            "reference": self.reference,
            "rows": [asdict(row) for row in self.rows],
            "comparisons": [{**asdict(one), "p": one.p, "verdict": one.verdict} for one in self.comparisons],
            "means": [asdict(mean) for mean in self.means],
            "joint": [{"target": one.target, "contender": one.contender} for one in self.joint],
            "forgotten": [asdict(one) for one in self.forgotten],
            "learning_curves": [asdict(curve) for curve in self.learning],
            "few_example_curves": [asdict(curve) for curve in self.few],
            "fusion_weights": self.weights,
        }
        told = {"origin": self.origin, "command": self.command, "notes": self.notes, "caveats": self.caveats}
        return found | told


def build_report(
    outcomes: Sequence[Outcome],
    *,
    command: str,
    latency: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    caveats: Sequence[str] = (),
) -> Report:
    """Reads the runs and works everything out; `latency` is by contender, relative to the reference."""
    rows, comparisons = summarise(outcomes, latency or {}), compare_all(outcomes)
    return Report(
        reference=reference_of(outcomes),
        rows=rows,
        comparisons=comparisons,
        means=means_over_targets(rows, comparisons),
        joint=joint(rows, comparisons),
        forgotten=forgotten(outcomes),
        learning=learning_curves(outcomes),
        few=few_example_curves(outcomes),
        weights=fusion_weights(outcomes),
        origin=_origin(outcomes),
        command=command,
        notes=list(notes),
        caveats=[*caveats, *_unpaired(rows, comparisons)],
    )


def _unpaired(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> list[str]:
    """Contenders with runs that have no run of the reference to stand beside."""
    tested = {(c.target, c.contender, c.train_size): c.seeds for c in comparisons}
    reference = reference_of_rows(rows)
    found = []
    for row in rows:
        paired = tested.get((row.target, row.contender, row.train_size), 0)
        if row.contender != reference and paired < len(row.runs):
            found.append(
                f"{row.target}: {len(row.runs) - paired} of {len(row.runs)} runs of {row.contender} have no run of "
                f"{reference} with the same seed and test examples, and are in the table but in no test."
            )
    return found


def reference_of_rows(rows: Sequence[Row]) -> str:
    """The reference among rows."""
    names = [row.contender for row in rows]
    return "single" if "single" in names else names[0]


def _origin(outcomes: Sequence[Outcome]) -> list[str]:
    manifests = [outcome.manifest for outcome in outcomes]
    backbones = dict.fromkeys(
        f"{m.backbone['name']} (fingerprint {m.backbone['fingerprint'][:12]})" for m in manifests
    )
    data = dict.fromkeys(
        f"{e['task']} from {e['source']}" + _sizes(e)
        for m, o in zip(manifests, outcomes, strict=True)
        for e in m.data
        if e["task"] == o.task.name and o.train_size is None
    )
    versions = dict.fromkeys(
        ", ".join(f"{name} {m.versions[name]}" for name in ("torch", "transformers") if name in m.versions)
        for m in manifests
    )
    return [
        f"Backbone: {'; '.join(backbones)}",
        f"Data: {'; '.join(data)}",
        f"Versions: {'; '.join(versions)}",
    ]


def _sizes(entry: Mapping[str, Any]) -> str:
    sizes = entry.get("sizes", {})
    return f" ({', '.join(f'{size:,} {split}' for split, size in sizes.items())})" if sizes else ""
