"""The findings as rows of text, for the screen, for Markdown and for HTML alike: the first row is the header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Rows = list[tuple[str, ...]]


def effect_rows(found: Mapping[str, Any], task: str) -> Rows:
    """Each adapter's weight beside what the fusion loses without it, and what it does alone."""
    told = found["targets"][task]
    names = _named(found, told["mean"])
    effects = told["effects"]
    if effects is None:
        return [("adapter", "mean weight"), *((name, f"{weight:.3f}") for name, weight in names.items())]
    rows: Rows = [("adapter", "mean weight", "alone", "difference without it (95 %)", "worse / better", "p")]
    rows.append(("all", "", number(effects["all"]["metric"]), "", "", ""))
    for name, weight in names.items():
        rows.append((name, f"{weight:.3f}", *_effect_cells(effects, name)))
    rows.append(("none of them", "", number(effects["none"]["metric"]), *_loss(effects["none"])))
    return rows


def _named(found: Mapping[str, Any], means: Mapping[str, float]) -> dict[str, float]:
    """Adapters by weight, then groups by the sum of their members' weights."""
    ordered = dict(sorted(means.items(), key=lambda item: -abs(item[1])))
    groups = {f"group {g}": sum(means[name] for name in own) for g, own in found["groups"].items()}
    return ordered | groups


def _effect_cells(effects: Mapping[str, Any], name: str) -> tuple[str, ...]:
    without = effects.get("without", {}).get(name)
    if without is None:
        return ("", "the only one", "", "")
    return (number(effects["alone"][name]["metric"]), *_loss(without))


def _loss(told: Mapping[str, Any]) -> tuple[str, str, str]:
    interval = f"{signed(told['difference'])} ({signed(told['low'])} to {signed(told['high'])})"
    return interval, f"{told['worse']} / {told['better']}", p_text(told["p"])


def facet_rows(told: Mapping[str, Any], facet: str, adapters: Sequence[str]) -> Rows:
    """Mean weights by part; where there are any, also what each part loses without each adapter."""
    parts = told["facets"][facet]
    rows: Rows = [(facet, "tokens", *adapters)]
    for part, one in parts.items():
        rows.append((part, f"{one['tokens']:,}", *(f"{one['mean'][name]:.3f}" for name in adapters)))
    return rows


def facet_effect_rows(told: Mapping[str, Any], facet: str, adapters: Sequence[str]) -> Rows:
    """By part: how well its examples are answered with all adapters, and the difference without each; or nothing."""
    parts = (told["effects"] or {}).get("facets", {}).get(facet, {})
    if not parts or not all("without" in one for one in parts.values()):
        return []
    rows: Rows = [(facet, "examples", "all", *(f"without {name}" for name in adapters))]
    for part, one in parts.items():
        losses = (signed(one["without"][name] - one["all"]) for name in adapters)
        rows.append((part, str(one["examples"]), number(one["all"]), *losses))
    return rows


def entropy_rows(told: Mapping[str, Any]) -> Rows:
    """Entropy by site."""
    rows: Rows = [("site", "entropy / log N")]
    for site, one in told["weights"].items():
        value = one["normalised_entropy"]
        rows.append((site, "one adapter" if value is None else f"{value:.3f}"))
    return rows


def cka_rows(redundancy: Mapping[str, Any], adapters: Sequence[str]) -> Rows:
    """Mean CKA of every two adapters, and the size of each one's output."""
    rows: Rows = [("", *adapters, "size of output")]
    for name, line in zip(adapters, redundancy["mean"], strict=True):
        rows.append((name, *(optional(value) for value in line), optional(redundancy["size"][name])))
    return rows


def number(value: float) -> str:
    """A metric."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """A difference."""
    return f"{value:+.3f}"


def optional(value: float | None) -> str:
    """A number that may not exist."""
    return "–" if value is None else f"{value:.2f}"


def p_text(value: float) -> str:
    """A p value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
