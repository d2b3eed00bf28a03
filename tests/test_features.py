"""What the heads read, computed once for each example: the same training, the backbone run once, no trace left."""

import pytest
import tiny
import torch
import typed
from fitting import run_fit, state

from fusion_pipeline.heads import HeadSettings
from fusion_pipeline.training import fit as fitting
from fusion_pipeline.workflow import build_heads

TAGS = {"task_type": "token_classification", "label_names": ["O", "B-x", "I-x"]}
OPTIONS = {"num_train_epochs": 3, "per_device_eval_batch_size": 4, "reuse_lower_layers": False}


def tagged(tmp_path):
    rows = [{"tokens": ["ab"] * (1 + n % 5) + ["zz"], "tags": [0] * (1 + n % 5) + [1]} for n in range(30)]
    return typed.load(typed.folder(tmp_path / "tags", rows, **TAGS))


def chosen(tmp_path):
    rows = [
        {
            "context": "a lamp",
            "question": f"{n}?",
            "choices": ["no", "yes", "so-so"][: 2 + n % 2],
            "label": n % 2,
        }
        for n in range(30)
    ]
    return typed.load(typed.folder(tmp_path / "choices", rows, task_type="multiple_choice"))


def trained(data, work, monkeypatch, *, reuse):
    """(model, Fit, rows that the backbone ran) of heads alone, in float64."""
    model = tiny.adapted(pooling="mean", dropout=False)
    torch.manual_seed(0)
    build_heads(model, data, HeadSettings())
    model.train_only(heads=[one.spec.name for one in data])
    model.set_active(None, head=data[0].spec.name)
    model.double()
    rows = []
    model.backbone.embeddings.register_forward_hook(lambda _m, _i, out: rows.append(len(out)))
    spec = fitting.FitSpec
    monkeypatch.setattr(tiny, "FitSpec", lambda **values: spec(**values, reuse_features=reuse))
    return model, run_fit(model, data, work, **OPTIONS), sum(rows)


@pytest.mark.parametrize("make", [lambda _: tiny.task_data("a", sizes=(21, 9, 5)), tagged, chosen])
def test_training_is_the_same_and_the_backbone_runs_once_for_each_text(tmp_path, monkeypatch, make):
    data = [make(tmp_path), tiny.task_data("b", sizes=(13, 6, 5), seed=3)]
    (plain, wanted, all_rows), (model, found, rows) = (
        trained(data, tmp_path / str(reuse), monkeypatch, reuse=reuse) for reuse in (False, True)
    )
    for name, value in state(model).items():
        torch.testing.assert_close(value, state(plain)[name], rtol=1e-7, atol=1e-9, msg=name)
    for split in ("validation", "test"):
        assert found.metrics[split] == pytest.approx(wanted.metrics[split], rel=1e-6)
    sequences = sum(
        int(one.sequences.sum()) for several in tiny.encoded(model, *data).values() for one in several
    )
    assert rows <= sequences < all_rows / 2
    assert not [path for path in (tmp_path / "True").rglob("*") if path.suffix == ".tmp"]
