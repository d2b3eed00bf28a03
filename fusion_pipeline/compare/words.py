"""Figures of a report as text."""

from __future__ import annotations

from fusion_pipeline.compare.intervals import Difference


def percent(value: float) -> str:
    """A metric in per cent."""
    return f"{100 * value:.1f}"


def spread(value: tuple[float, float], runs: int) -> str:
    """Mean ± standard deviation in per cent; the mean alone of one run."""
    mean, deviation = value
    return percent(mean) if runs == 1 else f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def points(value: float) -> str:
    """A difference in points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def interval(difference: Difference) -> str:
    """The 95 % interval of a difference, in points."""
    return f"{points(difference.low)} to {points(difference.high)}"


def p_value(value: float) -> str:
    """p, as far as it can be told."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def count(value: int) -> str:
    """A number of parameters: 1.04 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)


def memory(value: int | None) -> str:
    """Bytes as MB or GB; empty where they are not known."""
    if value is None:
        return ""
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def seconds(value: float) -> str:
    """A time: 42 s, 12 min."""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s" if value < 600 else f"{value / 60:.0f} min"


def ratio(value: float | None) -> str:
    """A latency relative to the reference; empty where it was not measured."""
    return "" if value is None else f"{value:.2f}×"


def listed(words: list[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def short(name: str, longest: int = 32) -> str:
    """A name that fits beside a plot."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def plural(number: int, word: str) -> str:
    """1 seed, 5 seeds."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
