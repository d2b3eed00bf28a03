"""The report of finished runs: verdicts, tables, plots and files, on answers whose difference is known."""

import json
import re

import numpy as np
import pytest
from finished_runs import contest, flipped, labels_of, spec, write_run

from fusion_pipeline.compare.comparing import compare_all
from fusion_pipeline.compare.report import build_report
from fusion_pipeline.compare.reporting import save_report

pytest_plugins = ("browser",)

EVIL = "<img src=x onerror=console.log(1)> $\\frac{x$ | `a` {{ 7*7 }}"
FILES = ("report.html", "report.md", "results.json", "forest.svg", "forest.png", "learning.svg")


def saved(outcomes, folder, **options):
    report = build_report(outcomes, command="python -m fusion_pipeline stage=compare", **options)
    save_report(report, folder)
    return report


def by_contender(outcomes):
    return {one.contender: one for one in compare_all(outcomes)}


# --- verdicts -----------------------------------------------------------------------------------------


def test_verdicts_are_better_worse_and_cannot_be_told(tmp_path):
    errors = {"single": 0.3, "good": 0.1, "bad": 0.5, "same": 0.29}
    found = by_contender(contest(tmp_path, errors))
    assert {name: one.verdict for name, one in found.items()} == {
        "good": "better",
        "bad": "worse",
        "same": "cannot be told",
    }
    assert found["good"].difference.mean == pytest.approx(0.2, abs=0.05)
    assert found["good"].seeds == 3
    assert found["good"].examples == 400
    assert found["good"].exact_p is None
    assert found["same"].corrected >= found["same"].p


def test_a_small_test_set_needs_an_exact_test_to_agree(tmp_path):
    task, right = spec(), ["yes"] * 30
    base = write_run(tmp_path, "single", task, ["no"] * 5 + ["yes"] * 25, right)
    # Five differences, all one way: a normal approximation calls it (p = 0.02), an exact test does not (p = 0.06).
    better = write_run(tmp_path, "fusion", task, ["yes"] * 30, right)
    (found,) = compare_all([base, better])
    assert found.difference.p < 0.05
    assert found.exact_p == pytest.approx(2 * 0.5**5, abs=0.02)
    assert found.discordant == (0, 5, pytest.approx(0.0625))
    assert found.verdict == "cannot be told"
    told = build_report([base, better], command="")
    text = json.dumps(told.to_json())
    assert "exact_p" in text


def test_an_example_on_which_seeds_are_divided_has_no_majority(tmp_path):
    right = ["yes", "no"] * 20
    base = [write_run(tmp_path, "single", spec(), ["yes"] * 40, right, seed=seed) for seed in (0, 1)]
    divided = [["yes"] * 40, ["no"] * 40]
    other = [write_run(tmp_path, "fusion", spec(), said, right, seed=i) for i, said in enumerate(divided)]
    (found,) = compare_all([*base, *other])
    assert found.discordant == (0, 0, 1.0)


def test_the_metric_that_is_tested_is_the_target_s_own(tmp_path):
    draw = np.random.default_rng(0)
    right, task = labels_of(300, draw), spec(metric="f1")
    base = write_run(tmp_path, "single", task, flipped(right, 0.3, draw), right)
    other = write_run(tmp_path, "fusion", task, flipped(right, 0.2, draw), right)
    (found,) = compare_all([base, other])
    assert found.metric == "f1"
    assert found.difference.mean == pytest.approx(other.score("test") - base.score("test"))


TYPED = {
    "regression": (None, "pearson", [1.0, 2.0, 3.0], [1.5, 2.0, 2.0]),
    "multiple_choice": (None, "accuracy", [0, 2, 1], [0, 1, 1]),
    "multi_label_classification": (("a", "b"), "f1_micro", [["a"], ["a", "b"], []], [["a"], ["b"], []]),
    "token_classification": (
        ("O", "B-x", "I-x"),
        "f1",
        [["B-x", "I-x"], ["O"], ["B-x"]],
        [["B-x", "O"], ["O"], ["B-x"]],
    ),
    "span_qa": (None, "f1", [["a cat"], ["dog", "the dog"], ["bird"]], ["cat", "dogs", "bird"]),
}


@pytest.mark.parametrize("kind", TYPED)
def test_every_task_type_is_compared_by_its_own_metric(kind, tmp_path):
    labels, metric, right, said = TYPED[kind]
    fields = {
        "multiple_choice": ("context", "question", "choices"),
        "token_classification": ("tokens",),
        "span_qa": ("context", "question"),
    }.get(kind, ("text",))
    task = spec(metric=metric, kind=kind, labels=labels, text=fields)
    perfect = [answers[0] for answers in right] if kind == "span_qa" else right
    base = write_run(tmp_path, "single", task, said * 10, right * 10)
    best = write_run(tmp_path, "fusion", task, perfect * 10, right * 10)
    (found,) = compare_all([base, best])
    assert found.difference.mean > 0.05
    assert found.differing == {"regression": 20}.get(kind, 10)
    assert (found.discordant is not None) == (kind == "multiple_choice")


def test_runs_on_different_test_examples_are_not_compared(tmp_path):
    right = ["yes", "no"] * 10
    base = write_run(tmp_path, "single", spec(), right, right)
    fewer = write_run(tmp_path, "fewer", spec(), right[1:], right[1:])
    others = write_run(tmp_path, "others", spec(), right, right[::-1])
    report = build_report([base, fewer, others], command="")
    assert report.comparisons == []
    assert [line.split()[1:6] for line in report.caveats] == [["1", "of", "1", "runs", "of"]] * 2


def test_contenders_over_source_adapters_are_paired_where_the_reference_has_none_or_the_same(tmp_path):
    own = contest(tmp_path / "a", {"single": 0.3}, seeds=2)
    one = contest(tmp_path / "b", {"fusion": 0.2}, seeds=2, stage1_seed=5)
    two = contest(tmp_path / "c", {"scalearn": 0.2}, seeds=2, stage1_seed=6)
    assert [c.seeds for c in compare_all([*own, *one, *two])] == [2, 2]
    # Without `single` the first is the reference: its adapters are others than those of the second.
    assert compare_all([*one, *two]) == []
    assert [
        c.contender for c in compare_all([*one, *contest(tmp_path / "d", {"head_only": 0.4}, seeds=2)])
    ] == ["head_only"]


def test_runs_without_a_partner_are_in_the_table_and_in_no_test(tmp_path):
    outcomes = contest(tmp_path, {"single": 0.3, "fusion": 0.2})
    report = build_report([o for o in outcomes if (o.contender, o.seed) != ("single", 2)], command="")
    assert [row.seeds for row in report.rows] == [2, 3]
    assert report.comparisons[0].seeds == 2
    assert any("1 of 3 runs of fusion" in line for line in report.caveats)


def test_correction_is_over_the_comparisons_of_the_report(tmp_path):
    alone = by_contender(contest(tmp_path / "a", {"single": 0.3, "one": 0.25}))
    many = by_contender(
        contest(tmp_path / "b", {"single": 0.3, "one": 0.25, **{f"c{i}": 0.3 for i in range(6)}})
    )
    assert alone["one"].corrected == alone["one"].p
    assert many["one"].corrected > many["one"].p


# --- files ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A report with all its parts: two targets, few examples, a joint contender, an old target, odd names."""
    root = tmp_path_factory.mktemp("runs")
    outcomes = contest(root / "rte", {"single": 0.35, "fusion": 0.1, EVIL: 0.38})
    outcomes += contest(root / "wic", {"single": 0.3, "fusion": 0.31, EVIL: 0.45}, name="wic")
    outcomes += contest(root / "few", {"single": 0.45, "fusion": 0.2}, train_size=50)
    outcomes += contest(root / "joint", {"multitask": 0.55}, tasks=["wic"])
    old = {"old_targets": {"mrpc": {"before": 0.81, "after": 0.78}}}
    site = {"weights": {EVIL: 0.75, "mnli": 0.25}, "entropy": 0.5, "tokens": 10}
    weights = {"rte": {"ffn.0": site, "ffn.1": site}}
    outcomes += contest(root / "grown", {"grown": 0.35}, metrics=old, weights=weights)
    folder = tmp_path_factory.mktemp("report")
    latency = {"single": 1.0, "fusion": 1.4}
    return saved(outcomes, folder, latency=latency, notes=["Chosen on validation."]), folder, outcomes


def test_the_page_opens_with_tables_and_plots_and_no_errors(everything, browser):
    _, folder, _ = everything
    page = browser(folder / "report.html")
    assert page.console == []
    assert page.dom.count("<table") == 4
    assert page.dom.count("<svg") == 6
    for name in ("forest", "parameters", "latency", "few_examples", "learning", "fusion_weights"):
        assert re.search(rf'id="plot-{name}".*?<path', page.dom, re.S), name
    # Our script ran: a browser that was told to run nothing else ran it.
    assert '<html lang="en" class="scripted">' in page.dom


def test_names_from_data_are_never_markup(everything):
    _, folder, _ = everything
    page = (folder / "report.html").read_text()
    assert "<img" not in page
    assert "&lt;img src=x" in page
    assert "{{ 7*7 }}" in page
    assert "tiny &lt;b&gt;" in page
    assert "<img" not in (folder / "forest.svg").read_text()
    assert "<img" not in re.sub(r"\\<", "", (folder / "report.md").read_text())


def test_the_page_needs_no_network(everything):
    _, folder, _ = everything
    page = (folder / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!#|data:image/png)', page)
    assert not re.search(r"url\((?!#)|@import", page)


def test_markdown_links_the_pictures_beside_it(everything):
    _, folder, _ = everything
    text = (folder / "report.md").read_text()
    linked = re.findall(r"\]\((\w+\.svg)\)", text)
    assert len(linked) == 6
    assert all((folder / name).is_file() for name in linked)
    assert "| rte | fusion | all | accuracy | 3 |" in text


def test_the_same_runs_give_the_same_files(everything, tmp_path):
    _, folder, outcomes = everything
    saved(outcomes, tmp_path, latency={"single": 1.0, "fusion": 1.4}, notes=["Chosen on validation."])
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_joint_training_forgetting_and_few_examples_are_told(everything):
    report, folder, _ = everything
    text = (folder / "report.md").read_text()
    assert [(c.contender, c.verdict) for c in report.joint] == [("multitask", "worse")]
    assert "On 1 of 1 target joint training came out lower than single, on 1 of them" in text
    assert "| mrpc | rte-0 | 81.0 | 78.0 | −3.0 |" in text
    assert "rte, fusion: better with 50 examples and all examples" in text
    sizes = {(c.target, c.contender): c.x for c in report.few}
    assert sizes == {("rte", "single"): (50, 240), ("rte", "fusion"): (50, 240)}


def test_results_json_has_what_the_sentences_say(everything):
    report, folder, _ = everything
    found = json.loads((folder / "results.json").read_text())
    assert found["reference"] == "single"
    best = next(c for c in found["comparisons"] if c["contender"] == "fusion" and c["target"] == "rte")
    assert best["verdict"] == "better"
    assert best["difference"]["low"] > 0
    row = next(r for r in found["rows"] if r["contender"] == "fusion" and r["target"] == "rte")
    assert (row["latency"], row["peak_memory"], row["stored"]) == (1.4, 640_000_000, 1_036_802)
    means = {mean["contender"]: mean for mean in found["means"]}
    assert set(means) == {"single", "fusion", EVIL}
    assert means["fusion"]["difference"]["mean"] == pytest.approx(
        np.mean([c.difference.mean for c in report.tested if c.contender == "fusion"])
    )


def test_one_seed_is_called_one_seed(tmp_path):
    report = build_report(contest(tmp_path, {"single": 0.3, "fusion": 0.1}, seeds=1), command="")
    save_report(report, tmp_path / "report")
    assert "One seed: the interval is for these two runs" in (tmp_path / "report" / "report.md").read_text()


def test_a_report_of_the_reference_alone_tests_nothing(tmp_path):
    report = saved(contest(tmp_path, {"single": 0.3}), tmp_path / "report")
    assert report.comparisons == []
    assert "nothing is tested" in (tmp_path / "report" / "report.md").read_text()
