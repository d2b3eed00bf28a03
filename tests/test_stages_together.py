"""Stage 1 with together=true: the artefacts of separate runs, from one training."""

import pytest
import tiny
from safetensors.torch import load_file

from fusion_pipeline import AdaptedModel, store
from fusion_pipeline.errors import PipelineError

STILL = ("backbone.dropout=false", "head.dropout=0", "trainer.num_train_epochs=2")
NAMES = ("small", "large")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of separate runs and of a joint one."""
    root = tmp_path_factory.mktemp("together")
    files = [
        tiny.write_csv(root / f"{name}.csv", tiny.rows(size, seed=n))
        for n, (name, size) in enumerate(zip(NAMES, (60, 100), strict=True))
    ]
    words = (
        "stage=adapters",
        f"task=[{','.join(map(str, files))}]",
        *tiny.columns(),
        *STILL,
    )
    for together in ("false", "true"):
        tiny.stage(*words, f"together={together}", f"output_root={root / together}")
    return root, words


@pytest.mark.parametrize("name", NAMES)
def test_the_artefacts_are_those_of_separate_runs(runs, name):
    root, _ = runs
    alone, together = (root / which / "adapters" / name for which in ("false", "true"))
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}
    for file in ("adapter.safetensors", "heads.safetensors"):
        expected, found = load_file(alone / file), load_file(together / file)
        assert expected.keys() == found.keys()
        assert all(found[key].allclose(value, atol=1e-4) for key, value in expected.items())
    manifests = store.verify(alone), store.verify(together)
    assert not store.same_config(manifests[1], manifests[0].config)
    assert manifests[0].data == manifests[1].data
    assert manifests[1].notes == ["trained together with: small, large"]


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_each_adapters_own(runs, name):
    root, _ = runs
    alone, together = (tiny.metrics(root / which / "adapters" / name) for which in ("false", "true"))
    assert together.keys() == alone.keys()
    for key in ("parameters", "steps", "epochs", "examples", "world_size"):
        assert together[key] == alone[key]
    for split in ("validation", "test"):
        assert together[split] == pytest.approx(alone[split], abs=1e-4)


def test_the_artefacts_predict(runs):
    root, _ = runs
    folder = root / "true" / "adapters" / "small"
    model = AdaptedModel.load(folder)
    written = tiny.said(folder)
    found = tiny.probabilities(model, written)
    for row, probabilities in zip(written, found, strict=True):
        assert probabilities == pytest.approx(row["probabilities"], abs=1e-4)


def test_what_is_there_already_is_left_and_nothing_lies_about(runs):
    root, words = runs
    folder = root / "true" / "adapters"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    tiny.stage(*words, "together=true", f"output_root={root / 'true'}")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert {path.name for path in folder.iterdir()} == set(NAMES)


def test_a_dry_run_writes_nothing(runs):
    root, words = runs
    tiny.stage(*words, "together=true", "dry_run=true", f"output_root={root / 'dry'}")
    assert not list((root / "dry").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("resume=true", "no checkpoints"),
        ("together=maybe", "not true or false"),
        ("trainer.gradient_accumulation_steps=2", "cannot follow: gradient_accumulation_steps"),
    ],
)
def test_what_cannot_be_done_is_refused(runs, word, said):
    root, words = runs
    with pytest.raises(PipelineError, match=said):
        tiny.stage(*words, "together=true", word, f"output_root={root / 'refused'}")


def test_a_task_named_twice_is_refused(runs):
    root, words = runs
    twice = f"task=[{root / 'small.csv'},{root / 'small.csv'}]"
    with pytest.raises(PipelineError, match="two tasks are named"):
        tiny.stage(*words, twice, "together=true", f"output_root={root / 'refused'}")


MIXED = ("sentiment", "interests", "roles", "retelling", "culprit", "overlap")


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_tasks_of_every_type_train_together_as_they_do_alone(tmp_path, bf16):
    names = MIXED if not bf16 else MIXED[:3]
    sizes = ("data.max_train=20", "data.max_validation=6", "data.max_test=6")
    words = ("stage=adapters", f"task=[{','.join(names)}]", *sizes, *STILL)
    for together in ("false", "true"):
        options = (f"together={together}", f"output_root={tmp_path / together}", f"trainer.bf16={bf16}")
        tiny.stage(*words, *options)
    for name in names:
        alone, joint = (tmp_path / which / "adapters" / name for which in ("false", "true"))
        for file in ("adapter.safetensors", "heads.safetensors"):
            expected, found = load_file(alone / file), load_file(joint / file)
            apart = max(float((found[key] - v).abs().mean()) for key, v in expected.items())
            assert apart < (5e-4 if bf16 else 1e-5), (name, file, apart)
        assert tiny.metrics(joint)["test"] == pytest.approx(
            tiny.metrics(alone)["test"], abs=0.2 if bf16 else 1e-3
        )
