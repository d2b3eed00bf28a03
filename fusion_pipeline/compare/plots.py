"""The pictures of a report. Colours and markers together tell contenders apart, for any eye and on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from fusion_pipeline.compare.comparing import OPEN, Comparison
from fusion_pipeline.compare.curves import Curve
from fusion_pipeline.compare.summary import Row
from fusion_pipeline.compare.words import count, points, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), without yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX<>p*h"
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    # Names come from data: a dollar sign is no formula.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@contextmanager
def style(name: str) -> Iterator[None]:
    """Our settings, and the same bytes for the same figures; `name` keeps the ids of two pictures apart."""
    import matplotlib as mpl

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield


def draw(name: str, make: Callable[[], Figure]) -> tuple[str, bytes]:
    """(SVG without a prolog, PNG) of a picture."""
    from io import BytesIO

    with style(name):
        figure = make()
        text, pixels = StringIO(), BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(pixels, format="png", dpi=150, metadata={"Software": None})
    svg = text.getvalue()
    return _own_ids(svg[svg.index("<svg") :], name), pixels.getvalue()


def _own_ids(svg: str, name: str) -> str:
    """Ids that no other picture on the page has: matplotlib calls every first axis axes_1."""
    for mark in (' id="', 'href="#', "url(#"):
        svg = svg.replace(mark, f"{mark}{name}-")
    return svg


def forest(comparisons: Sequence[Comparison], names: Sequence[str]) -> Figure:
    """Each difference to the reference with its 95 % interval; filled where it can be told after correction."""
    figure, (axis,) = _panels(1, width=7.2, height=0.9 + 0.3 * len(comparisons))
    style_of = _styles(names)
    for row, one in enumerate(comparisons):
        colour, marker = style_of[one.contender]
        told = one.verdict != OPEN
        d = one.difference
        axis.plot([100 * d.low, 100 * d.high], [row, row], color=colour, lw=1.8, solid_capstyle="butt")
        axis.plot(
            100 * d.mean, row, marker=marker, ms=7, color=colour, mfc=colour if told else "white", mew=1.5
        )
        axis.annotate(
            points(d.mean), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8
        )
    axis.axvline(0, color="#444444", lw=1)
    axis.set_yticks(
        range(len(comparisons)), [short(f"{c.target}: {c.contender}{_size(c)}") for c in comparisons]
    )
    axis.set_ylim(len(comparisons) - 0.4, -0.6)
    axis.grid(axis="x")
    axis.set_xlabel(f"difference to {comparisons[0].reference} on test, points (95 % interval)")
    return figure


def against(
    rows: Sequence[Row], names: Sequence[str], of: Callable[[Row], float | None], label: str, *, log: bool
) -> Figure:
    """Test metric over a cost, a panel for each target, a point for each contender with its deviation over seeds."""
    targets = list(dict.fromkeys(row.target for row in rows))
    style_of = _styles(names)
    figure, axes = _panels(len(targets))
    for axis, target in zip(axes, targets, strict=True):
        own = [(row, of(row)) for row in rows if row.target == target]
        for row, cost in own:
            if cost is None:
                continue
            colour, marker = style_of[row.contender]
            mean, deviation = (100 * value for value in row.test)
            axis.errorbar(
                cost, mean, deviation, color=colour, marker=marker, ms=7, capsize=2, lw=1, label=row.contender
            )
        _axis(axis, target, label, f"test {own[0][0].metric}, %", log=log)
    _legend(figure, axes)
    return figure


def lines(curves: Sequence[Curve], names: Sequence[str], x_label: str, y_label: str, *, log: bool) -> Figure:
    """Means over seeds with a band of one standard deviation, a panel for each target."""
    targets = list(dict.fromkeys(curve.target for curve in curves))
    style_of = _styles(names)
    figure, axes = _panels(len(targets))
    for axis, target in zip(axes, targets, strict=True):
        for curve in (curve for curve in curves if curve.target == target):
            colour, marker = style_of[curve.contender]
            mean = [100 * value for value in curve.mean]
            low = [100 * (m - d) for m, d in zip(curve.mean, curve.deviation, strict=True)]
            high = [100 * (m + d) for m, d in zip(curve.mean, curve.deviation, strict=True)]
            axis.fill_between(curve.x, low, high, color=colour, alpha=0.15, lw=0)
            axis.plot(curve.x, mean, color=colour, marker=marker, ms=5, lw=1.5, label=curve.contender)
        _axis(axis, target, x_label, y_label, log=log)
    _legend(figure, axes)
    return figure


def _axis(axis: Axes, title: str, x_label: str, y_label: str, *, log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.grid(visible=True)
    axis.set_title(title, loc="left", fontweight="bold", fontsize=10)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    if log:
        axis.set_xscale("log")
        # 200 k, 5 M: powers of ten would be formulas.
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(int(value))))
        axis.xaxis.set_minor_formatter(NullFormatter())


def _panels(number: int, *, width: float = 3.7, height: float = 3.1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(number, 2)
    rows = -(-number // columns)
    figure = Figure(
        figsize=(width if number == 1 and width > 5 else width * columns, height * rows), layout="constrained"
    )
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[number:]:
        spare.set_visible(False)
    return figure, axes[:number]


def _styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A contender looks the same in every picture of a report, whose contenders `names` are."""
    return {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    # A leading underscore would hide a name.
    figure.legend(found.values(), map(short, found), loc="outside lower center", ncols=min(len(found), 4))


def _size(one: Comparison) -> str:
    return "" if one.train_size is None else f" ({one.train_size:,})"
