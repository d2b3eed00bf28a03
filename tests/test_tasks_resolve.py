"""Plain values to sources: one source never stands in for another."""

from __future__ import annotations

import json

import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.data import load_task
from fusion_pipeline.tasks.embedded import TASKS
from fusion_pipeline.tasks.resolve import known_tasks, resolve, task_name
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec

EMBEDDED, HUB = DataSpec(), DataSpec(source="hub")


@pytest.fixture
def root(tmp_path):
    for name in ("imdb", "rte", "my.own"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset.json").write_text(json.dumps({"name": f"{name[:2]}-inside"}))
        lines = [json.dumps({"text": f"s {i}", "label": ["no", "yes"][i % 2]}) for i in range(20)]
        (tmp_path / name / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "notes").mkdir()
    return tmp_path


def refusal(value: str, data: DataSpec) -> str:
    with pytest.raises(PipelineError) as caught:
        resolve(value, data)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_embedded_task_loads_under_its_name(name):
    task = load_task(name, data=EMBEDDED, columns=ColumnsSpec())
    assert (task.spec.name, task.spec.labels) == (name, TASKS[name].labels)
    assert task.source == "embedded corpus (generated sentences)"
    assert task.spec.has_pair == TASKS[name].pair


def test_a_yaml_names_the_local_folder_and_any_folder_is_a_task(root):
    data = DataSpec(source="local", root=str(root))
    assert known_tasks(data) == ["imdb", "my.own", "rte", "sentiment"]
    sentiment = load_task("sentiment", data=data, columns=ColumnsSpec())
    assert (sentiment.spec.name, sentiment.source) == ("sentiment", f"local folder {root / 'imdb'}")
    assert task_name("rte", data) == "rte"  # the word that was asked for, not the one in dataset.json
    assert task_name("my.own", data) == "my_own"
    assert task_name(str(root / "rte"), EMBEDDED) == "rt-inside"  # given by its path, dataset.json names it


def test_a_folder_of_the_very_name_wins_over_the_folder_that_a_yaml_names(root):
    (root / "sentiment").mkdir()
    (root / "sentiment" / "dataset.json").write_text("{}")
    (root / "sentiment" / "train.jsonl").write_text((root / "imdb" / "train.jsonl").read_text())
    task = load_task("sentiment", data=DataSpec(source="local", root=str(root)), columns=ColumnsSpec())
    assert task.source.endswith("/sentiment")


def test_a_task_of_another_source_is_refused_and_says_where_it_is():
    message = refusal("rte", EMBEDDED)
    assert "data=local data.root=DIR (reads DIR/rte)" in message
    assert "data=hub (reads nyu-mll/glue)" in message
    assert "data=embedded" in refusal("topic", HUB)


def test_a_misspelt_name_gets_a_suggestion_and_the_list(root):
    assert "did you mean 'sentiment'" in refusal("sentimnt", EMBEDDED)
    assert "did you mean 'mrpc'" in refusal("mprc", HUB)
    message = refusal("rtee", DataSpec(source="local", root=str(root)))
    assert "did you mean 'rte'" in message
    assert "imdb" in message


def test_a_bare_folder_name_is_a_path_only_where_no_source_knows_it(root, monkeypatch):
    monkeypatch.chdir(root)
    (root / "imdb").rename(root / "fresh")
    assert task_name("fresh", EMBEDDED) == "im-inside"
    assert "task=./rte" in refusal("rte", EMBEDDED)
    assert task_name("./rte", EMBEDDED) == "rt-inside"


def test_paths_that_lead_nowhere_are_refused(root):
    local = DataSpec(source="local", root=str(root))
    assert "no file or folder" in refusal("./gone", EMBEDDED)
    assert "no file or folder" in refusal("../rte", DataSpec(source="local", root=str(root / "notes")))
    assert "no task 'gone'" in refusal("gone", local)
    assert "not its dataset.json" in refusal(str(root / "rte" / "dataset.json"), EMBEDDED)
    assert "names no task" in refusal(" ", EMBEDDED)
    assert "no dataset.json" in refusal_of_loading(str(root / "notes"))


def refusal_of_loading(value: str) -> str:
    with pytest.raises(PipelineError) as caught:
        load_task(value, data=EMBEDDED, columns=ColumnsSpec())
    return str(caught.value)


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    assert "data.root is not a folder" in refusal(
        "rte", DataSpec(source="local", root=str(tmp_path / "gone"))
    )


def test_a_hub_id_is_told_from_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "data").mkdir(parents=True)
    assert task_name("owner/data.set", HUB) == "data_set"
    (tmp_path / "here" / "reviews.csv").write_text("text,label\n")
    assert task_name("here/reviews.csv", HUB) == "reviews"
    assert "no such file" in refusal("here/gone.csv", HUB)
    assert "no file or folder" in refusal("owner/dataset", EMBEDDED)
    assert resolve("owner/dataset", HUB).takes_columns
    assert not resolve("rte", HUB).takes_columns


def test_resolving_a_name_imports_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from fusion_pipeline.tasks.data import load_task\n"
        "from fusion_pipeline.tasks.metrics import metrics_for\n"
        "from fusion_pipeline.tasks.resolve import known_tasks, resolve\n"
        "from fusion_pipeline.tasks.spec import DataSpec\n"
        "resolve('rte', DataSpec(source='hub')), known_tasks(DataSpec())\n"
        "heavy = {'torch', 'datasets', 'evaluate', 'sklearn', 'scipy', 'pyarrow', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
