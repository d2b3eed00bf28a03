"""Small tasks of every type, as folders, and a whole run over one."""

import json

import tiny

from fusion_pipeline.tasks.data import load_task
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec

TRAINING = ("trainer.learning_rate=0.03", "trainer.num_train_epochs=2")


def folder(path, rows, **card):
    """A dataset folder; what is missing is cut off train."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "dataset.json").write_text(json.dumps({"name": path.name, **card}))
    (path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def load(path):
    return load_task(str(path), data=DataSpec(), columns=ColumnsSpec())


def whole(path, tmp_path):
    """Trains an adapter, fuses it, scores it again and predicts on its own inputs; returns what came out."""
    out, name = tmp_path / "out", path.name
    root = f"output_root={out}"
    tiny.stage("stage=adapters", f"task={path}", root, *TRAINING)
    tiny.stage("stage=fusion", f"adapters=[{name}]", f"target={path}", root, *TRAINING)
    tiny.stage("stage=evaluate", f"run={out}/fusion/{name}", root)
    again = json.loads((out / "evaluate" / f"fusion-{name}.json").read_text())
    said = tmp_path / "said.jsonl"
    tiny.stage(
        "stage=predict", f"run={out}/fusion/{name}", f"input={path}/train.jsonl", f"output={said}", root
    )
    first = tiny.metrics(out / "fusion" / name)
    assert again["test"].items() <= first["test"].items()
    return (
        first,
        tiny.said(out / "fusion" / name),
        [json.loads(line) for line in said.read_text().splitlines()],
    )
