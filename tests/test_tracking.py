"""What wandb gets, read back from its offline runs: groups, tags, media, tables, artefacts; and its sweeps."""

import json
from pathlib import Path

import pytest
import tiny
import yaml
from offline_runs import offline_runs

from fusion_pipeline.registry import config_dir, groups
from fusion_pipeline.reporting.tracking_comparison import track_comparison
from fusion_pipeline.run import Run

pytest_plugins = ("loud",)

OFFLINE = ("logging=default", "trainer.num_train_epochs=2")
SWEEPS = sorted((config_dir() / "sweep").glob("*.yaml"))


@pytest.fixture(scope="module")
def tracked(loud):
    """A fusion and its inspection, tracked offline: their runs."""
    words = ("adapters=[a,b]", f"target={loud.files['a']}", "name=seen", "logging.tags=[mine]")
    loud.stage("stage=fusion", "fusion=linear", *words, *OFFLINE)
    run = loud.out / "fusion" / "seen"
    quick = ("inspect.tokens=0", "inspect.resamples=100")
    loud.stage("stage=inspect", f"run={run}", *OFFLINE, *quick, columns=False)
    return offline_runs(loud.out)


def test_a_run_is_filed_by_what_it_is(tracked):
    record = tracked["fusion-seen"].record
    assert record.job_type == "fusion"
    assert set(record.tags) == {"mine", "fusion:linear", "adapter:pfeiffer", "target:a", "seed:0"}
    assert tracked["inspect-seen"].record.job_type == "inspect"


def test_weights_are_media_and_tables_over_training(tracked):
    history = tracked["fusion-seen"].history
    pictures = [row for row in history if "fusion_weights/heatmap" in row]
    assert [row["train/global_step"] for row in pictures] == [9, 18]
    assert all(row["fusion_weights/heatmap"]["_type"] == "image-file" for row in pictures)
    tables = [row["fusion_weights/a"] for row in history if "fusion_weights/a" in row]
    assert [table["_type"] for table in tables] == ["table-file"] * 2


def test_the_score_that_sweeps_go_by_is_logged_and_is_the_selection_metric(tracked, loud):
    run = tracked["fusion-seen"]
    wanted = tiny.metrics(loud.out / "fusion" / "seen")["validation"]["accuracy"]
    assert run.summary["validation/score"] == pytest.approx(wanted)
    assert [row["validation/score"] for row in run.history if "validation/score" in row] == [
        pytest.approx(wanted)
    ]


def test_an_artefact_says_what_it_descends_from(tracked, loud):
    run = tracked["fusion-seen"]
    parents = {parent["name"]: parent["sha256"] for parent in run.config["lineage"]["parents"]}
    manifest = json.loads((loud.out / "fusion" / "seen" / "manifest.json").read_text())
    assert parents == {parent["name"]: parent["sha256"] for parent in manifest["parents"]}
    assert set(parents) == {"a", "b"}
    (artefact,) = [one for one in run.artefacts if one.type != "run_table"]
    assert (artefact.name, artefact.type) == ("fusion-seen", "fusion")
    assert {p["name"] for p in json.loads(artefact.metadata)["parents"]} == {"a", "b"}
    assert {"fusion.safetensors", "manifest.json"} <= {entry.path for entry in artefact.manifest.contents}


def test_an_inspection_has_its_table_and_pictures(tracked):
    seen = {key for row in tracked["inspect-seen"].history for key in row}
    assert {"inspect/a", "inspect/weights", "inspect/effects"} <= seen


def test_a_comparison_is_one_table_in_the_group_of_its_runs(tmp_path):
    folder = tmp_path / "compare" / "rte"
    folder.mkdir(parents=True)
    (folder / "report.md").write_text("# said")
    config = {"stage": {"name": "compare"}, "output_root": str(tmp_path), "logging": {"mode": "offline"}}
    weights = {"rte": {"ffn.0": {"weights": {"a": 0.4, "b": 0.6}, "entropy": 0.5}}}
    table = [["single", 0.5, None], ["fusion", 0.6, 0.1]]
    columns = ("contender", "test", "difference")
    run = Run.from_config(config)
    track_comparison(run, name="rte", columns=columns, rows=table, folder=folder, weights=weights)
    (found,) = offline_runs(tmp_path).values()
    assert (found.record.run_group, found.record.job_type) == ("rte", "compare")
    media = {
        key: value["path"] for row in found.history for key, value in row.items() if isinstance(value, dict)
    }
    (file,) = tmp_path.glob(f"wandb/offline-run-*/files/{media['comparison']}")
    told = json.loads(file.read_text())
    assert told["columns"] == list(columns)
    assert told["data"] == table
    assert "fusion_weights/heatmap" in media
    assert "comparison" in [artefact.type for artefact in found.artefacts]


def test_a_whole_comparison_lands_in_one_group(loud, tmp_path):
    words = (
        f"target={loud.files['a']}",
        "contenders=[head_only,weighted]",
        "seeds=1",
        "compare.latency=false",
    )
    small = (
        "trainer.max_steps=1",
        "logging=default",
        f"output_root={tmp_path}",
        "name=duel",
        *tiny.columns(),
    )
    tiny.stage("stage=compare", f"adapters=[{loud.files['b']}]", *words, *small)
    runs = offline_runs(tmp_path)
    assert {run.record.run_group for run in runs.values()} == {"duel"}
    assert {run.record.job_type for run in runs.values()} == {"adapters", "baseline", "fusion", "compare"}
    (table,) = [row["comparison"] for row in runs["compare-duel"].history if "comparison" in row]
    assert (table["_type"], table["nrows"]) == ("table-file", 2)


def test_members_of_a_multirun_share_a_group(cli, loud):
    words = ("stage=fusion", "adapters=[a,b]", f"target={loud.files['a']}", f"output_root={loud.out}")
    small = [word for word in tiny.QUICK if word != "logging=none"]
    grid = ("fusion=average,weighted", "seed=0,1", "name=grid", "trainer.max_steps=1")
    done = cli("-m", *words, *small, *tiny.columns(), *grid)
    assert done.returncode == 0, done.stderr
    runs = {name: run for name, run in offline_runs(loud.out).items() if name.startswith("fusion-grid")}
    assert set(runs) == {f"fusion-grid-fusion={f}-seed={s}" for f in ("average", "weighted") for s in (0, 1)}
    assert {run.record.run_group for run in runs.values()} == {"grid-over-fusion+seed"}
    assert "fusion:average" in runs["fusion-grid-fusion=average-seed=1"].record.tags
    assert "seed:1" in runs["fusion-grid-fusion=average-seed=1"].record.tags


def test_sweeps_are_no_config_group():
    assert SWEEPS
    assert "sweep" not in groups()


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_words_that_wandbs_agent_makes_of_a_sweep_are_a_run(path, loud, cli):
    words = agent_words(path)
    small = [word for word in (*tiny.QUICK, "data.max_train=16", f"output_root={loud.out}") if word]
    if not (loud.out / "adapters" / "sentiment").exists():
        for task in ("sentiment", "nli", "paraphrase"):
            tiny.stage("stage=adapters", f"task={task}", *small, "trainer.max_steps=1")
    offline = (*small, "logging=default", "logging.mode=offline", "trainer.max_steps=1")
    done = cli(*words, *offline, WANDB_SWEEP_ID="sweep7", WANDB_RUN_ID=path.stem)
    assert done.returncode == 0, done.stderr
    (run,) = [run for name, run in offline_runs(loud.out).items() if name.endswith(f"-{path.stem}")]
    sweep = yaml.safe_load(path.read_text())
    assert run.record.run_group == "sweep-sweep7"
    assert sweep["metric"] == {"name": "validation/score", "goal": "maximize"}
    assert sweep["metric"]["name"] in run.summary


def agent_words(path: Path) -> list[str]:
    """The command line after `-m fusion_pipeline`, as wandb's own agent fills a sweep's `command` in."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    sweep = yaml.safe_load(path.read_text())
    chosen = {
        name: one["values"][-1] if "values" in one else one["max"]
        for name, one in sweep["parameters"].items()
    }
    macros = create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
    words = []
    for chunk in create_sweep_command(list(sweep["command"])):
        words += macros[chunk[2:-1]] if chunk.startswith("${") else [chunk]
    assert words[:4] == ["/usr/bin/env", "python", "-m", "fusion_pipeline"]
    return words[4:]
