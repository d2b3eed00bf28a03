"""A report as titled parts, the same for Markdown and HTML: text, tables, verdicts, and the names of plots."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion_pipeline.compare import sentences
from fusion_pipeline.compare import words as w
from fusion_pipeline.compare.comparing import Comparison
from fusion_pipeline.compare.curves import few_example_comparisons
from fusion_pipeline.compare.report import Report
from fusion_pipeline.compare.summary import Row
from fusion_pipeline.training.weights import mean_over_layers


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as text; the first `left` columns are words, the others figures."""

    header: list[str]
    rows: list[list[str]]
    left: int = 2


@dataclass(frozen=True, kw_only=True)
class Point:
    """A sentence with what bears on it; `tone` is better, worse, open or nothing."""

    text: str
    tone: str = ""
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One titled part."""

    title: str
    text: str = ""
    table: Table | None = None
    points: list[Point] = field(default_factory=list)
    plots: list[str] = field(default_factory=list)


def sections(report: Report) -> list[Section]:
    """All parts that have something to say, in the order they are read."""
    parts = [
        _verdicts(report),
        _results(report),
        _means(report),
        _costs(report),
        _joint(report),
        _forgotten(report),
        _few(report),
        _learning(report),
        _weights(report),
        _method(report),
    ]
    return [part for part in parts if part is not None]


def result_table(report: Report) -> Table:
    """The table: metric over seeds, and what it costs."""
    sized = any(row.train_size for row in report.rows)
    header = [
        "target",
        "contender",
        *(["train"] if sized else []),
        "metric",
        "seeds",
        "validation %",
        "test %",
    ]
    header += [
        "difference",
        "verdict",
        "trainable",
        "stored",
        "training",
        "latency",
        "memory",
        "learning rate",
    ]
    against = {(c.target, c.contender, c.train_size): c for c in report.comparisons}
    rows = [
        _cells(row, against.get((row.target, row.contender, row.train_size)), sized) for row in report.rows
    ]
    return Table(header=header, rows=rows)


def _cells(row: Row, one: Comparison | None, sized: bool) -> list[str]:
    told = "" if one is None else f"{w.points(one.difference.mean)} ({w.interval(one.difference)})"
    train = ["all" if row.train_size is None else f"{row.train_size:,}"] if sized else []
    runs = len(row.runs)
    return [
        row.target,
        row.contender,
        *train,
        row.metric,
        str(runs) if runs == row.seeds else f"{row.seeds} ({runs} runs)",
        w.spread(row.validation, runs),
        w.spread(row.test, runs),
        told,
        "" if one is None else one.verdict,
        w.count(row.trainable),
        w.count(row.stored),
        w.seconds(row.seconds),
        w.ratio(row.latency),
        w.memory(row.peak_memory),
        w.listed([f"{rate:g}" for rate in row.learning_rates]),
    ]


def _verdicts(report: Report) -> Section | None:
    if not report.tested:
        return None
    tested = report.tested
    return Section(
        title="What can be said",
        text=sentences.counts_sentence(tested),
        points=[point_of(one, len(tested)) for one in tested],
        plots=["forest"],
    )


def point_of(one: Comparison, family: int) -> Point:
    """A comparison's verdict with its details."""
    tone = {"better": "better", "worse": "worse"}.get(one.verdict, "open")
    return Point(text=sentences.verdict(one, family), tone=tone, details=sentences.details(one))


def _results(report: Report) -> Section:
    return Section(
        title="Results",
        text="Mean ± standard deviation over runs, in %; differences on test in points, with their 95 % interval. "
        "Trainable: parameters that training changes. Stored: parameters in the artefact's own files; a fusion needs "
        f"its source adapters besides. Latency: time to answer a batch, relative to {report.reference}.",
        table=result_table(report),
    )


def _means(report: Report) -> Section | None:
    if not report.means:
        return None
    rows = []
    for mean in report.means:
        d = mean.difference
        told = ["", "", ""] if d is None else [w.points(d.mean), w.interval(d), w.p_value(d.p)]
        rows.append([mean.contender, w.percent(mean.test), *told])
    metrics = sorted({row.metric for row in report.full})
    mixed = f" The metrics differ ({w.listed(metrics)}): their mean is no metric." if len(metrics) > 1 else ""
    return Section(
        title="Mean over targets",
        text=f"Over {report.means[0].targets} targets, for these targets only; p is not corrected.{mixed}",
        table=Table(header=["contender", "test %", "difference", "95 % interval", "p"], rows=rows, left=1),
    )


def _costs(report: Report) -> Section | None:
    plots = ["parameters"] + (["latency"] if any(row.latency for row in report.full) else [])
    return Section(
        title="What it costs",
        text="Seconds are those of these runs on this machine, with whatever else it did.",
        plots=plots,
    )


def _joint(report: Report) -> Section | None:
    if not report.joint:
        return None
    hurt = [c for c in report.joint if c.verdict == "worse"]
    lower = sum(c.difference.mean < 0 for c in report.joint)
    return Section(
        title="Negative transfer: joint training against training alone",
        text=f"On {lower} of {w.plural(len(report.joint), 'target')} joint training came out lower than "
        f"{report.reference}, on {len(hurt)} of them by more than chance explains.",
        table=Table(
            header=["task", "contender", "difference", "95 % interval", "verdict"],
            rows=[
                [c.target, c.contender, w.points(c.difference.mean), w.interval(c.difference), c.verdict]
                for c in report.joint
            ],
        ),
    )


def _forgotten(report: Report) -> Section | None:
    if not report.forgotten:
        return None
    rows = [
        [
            one.task,
            one.artefact,
            w.percent(one.before),
            w.percent(one.after),
            w.points(one.after - one.before),
        ]
        for one in report.forgotten
    ]
    return Section(
        title="Forgetting: old tasks before and after something new was added",
        text="On validation, as recorded when the fusion went on (`init=`); one run each, without a test.",
        table=Table(header=["old task", "artefact", "before %", "after %", "change"], rows=rows),
    )


def _few(report: Report) -> Section | None:
    curves = few_example_comparisons(report.comparisons)
    if not report.few:
        return None
    return Section(
        title="With fewer training examples",
        text="Where a contender starts to pay: test metric over the number of training examples.",
        points=[Point(text=sentences.few_examples(*key, curve)) for key, curve in curves.items()],
        plots=["few_examples"],
    )


def _learning(report: Report) -> Section | None:
    if not report.learning:
        return None
    return Section(
        title="How they learn",
        text="Validation metric after each evaluation; mean over the runs that came as far, band of one standard "
        "deviation.",
        plots=["learning"],
    )


def _weights(report: Report) -> Section | None:
    if not report.weights:
        return None
    points = []
    for task, means in mean_over_layers(report.weights).items():
        ordered = sorted(means.items(), key=lambda item: -item[1])
        points.append(Point(text=f"{task}: " + ", ".join(f"{name} {weight:.2f}" for name, weight in ordered)))
    return Section(
        title="What the fusions listened to",
        text="Mean weight over layers, validation tokens and seeds. A weight is not an effect, and only "
        "weights that sum to 1 are shares.",
        points=points,
        plots=["fusion_weights"],
    )


def _method(report: Report) -> Section:
    told = [*sentences.method(report.comparisons), *report.notes, *report.caveats, *report.origin]
    return Section(
        title="How this was made, and what it cannot say", points=[Point(text=line) for line in told]
    )
