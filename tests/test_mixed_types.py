"""One fusion for targets of every type at once, through the command line, on the embedded tasks."""

import json
import re
from pathlib import Path

import pytest
import tiny
from safetensors.torch import load_file
from test_distributed import torchrun

from fusion_pipeline import AdaptedModel
from fusion_pipeline.errors import PipelineError

# A target of each type, and the metric that chooses its best checkpoint.
TARGETS = {
    "sentiment": "accuracy",
    "interests": "f1_micro",
    "roles": "f1",
    "retelling": "accuracy",
    "culprit": "f1",
    "overlap": "pearson",
}
SIZES = {"data.max_train": 22, "data.max_validation": 6, "data.max_test": 7}
SMALL = tuple(f"{key}={size}" for key, size in SIZES.items())
FUSION = ("stage=fusion", "adapters=[sentiment,roles]", f"target=[{','.join(TARGETS)}]", *SMALL)
EXACT = (
    "head.dropout=0",
    "backbone.dropout=false",
    "trainer.optim=sgd",
    "trainer.max_grad_norm=0",
    "trainer.learning_rate=0.1",
    "trainer.load_best_model_at_end=false",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two adapters, and a fusion of them for every target."""
    root = tmp_path_factory.mktemp("mixed")
    for task in ("sentiment", "roles"):
        tiny.stage("stage=adapters", f"task={task}", *SMALL, f"output_root={root}", "adapter.skip_layers=[0]")
    tiny.stage(*FUSION, "name=all", f"output_root={root}", *EXACT)
    return root


def test_every_target_is_scored_by_its_own_metrics_and_one_score_chooses(root):
    metrics = tiny.metrics(root / "fusion" / "all")
    assert metrics["examples"] == {
        split: 6 * size for split, size in zip(("train", "validation", "test"), (22, 6, 7), strict=True)
    }
    for split in ("validation", "test"):
        values = [metrics[split][f"{task}/{metric}"] for task, metric in TARGETS.items()]
        assert metrics[split]["score"] == pytest.approx(sum(values) / len(values))
    assert set(
        json.loads((root / "fusion" / "all" / "fusion_weights.json").read_text())["validation"]
    ) == set(TARGETS)


def test_the_whole_test_set_of_each_target_is_predicted(root):
    said = tiny.said(root / "fusion" / "all")
    assert [row["task"] for row in said] == [task for task in TARGETS for _ in range(7)]
    kinds = {row["task"]: type(row["prediction"]) for row in said}
    assert kinds == {
        "sentiment": str,
        "interests": list,
        "roles": list,
        "retelling": int,
        "culprit": str,
        "overlap": float,
    }


def test_evaluating_again_says_the_same(root):
    tiny.stage("stage=evaluate", f"run={root}/fusion/all", f"output_root={root}")
    again = json.loads((root / "evaluate" / "fusion-all.json").read_text())["test"]
    assert again == pytest.approx(
        {key: tiny.metrics(root / "fusion" / "all")["test"][key] for key in again}, abs=1e-6
    )


def test_each_head_answers_alone_as_in_the_run(root):
    model = AdaptedModel.load(root / "fusion" / "all")
    given = {
        "interests": lambda row: row["text"],
        "roles": lambda row: row["tokens"],
        "retelling": lambda row: (row["context"], row["question"], row["choices"]),
        "culprit": lambda row: (row["context"], row["question"]),
    }
    for row in tiny.said(root / "fusion" / "all"):
        if row["task"] in given:
            assert model.predict([given[row["task"]](row)], task=row["task"])[0].answer == row["prediction"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("task=sentiment", "text=It was fine."),
            r"(negative|positive)  \(negative 0\.\d+, positive 0\.\d+\)",
        ),
        (("task=interests", "text=Busy."), r"\[.*\]  \(food 0\.\d+, .*\)"),
        (("task=roles", "text=The nurse slept ."), r"The/\S+ nurse/\S+ slept/\S+ \./\S+"),
        (
            ("task=retelling", "text=It rained.", 'choices=[so,"yes, it did",true]'),
            r"[012]: .*  \(so 0\.\d+, yes, it did 0\.\d+, true 0\.\d+\)",
        ),
        (("task=culprit", "text=Ann saw Bob.", "text_pair=Who saw Bob?"), r"[AnsawBob.\s]+"),
        (("task=overlap", "text=a", "text_pair=b"), r"-?\d+\.\d+"),
    ],
)
def test_a_text_is_answered_in_the_manner_of_its_type(root, capsys, words, said):
    tiny.stage("stage=predict", f"run={root}/fusion/all", *words)
    lines = capsys.readouterr().out.splitlines()
    answer = next(line for line in lines[1:] if line.startswith("  "))
    assert re.fullmatch(said, answer.strip()), answer


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("task=retelling", "text=a"), "choices=[first,second]"),
        (("task=retelling", "text=a", "choices=[b]"), "two choices or more"),
        (("task=roles", "text=a", "text_pair=b"), "text_pair="),
        (("task=culprit", "text=a"), "(context, question)"),
        (("task=culprit", "text=a", "text_pair=b", "choices=[c,d]"), "choices="),
        (("task=sentiment", "text=a", "choices=[c,d]"), "reads no choices"),
    ],
)
def test_a_text_that_does_not_fit_its_type_is_refused(root, words, why):
    with pytest.raises(PipelineError) as caught:
        tiny.stage("stage=predict", f"run={root}/fusion/all", *words)
    assert why in str(caught.value)


def test_the_example_of_the_card_runs_for_every_type(root, capsys):
    card = (root / "fusion" / "all" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    exec(code.replace("PATH", str(root / "fusion")), {})
    assert capsys.readouterr().out.count("Prediction(") == len(TARGETS)


@pytest.mark.parametrize(
    "words",
    [
        ("sampling.strategy=round_robin", "trainer.train_sampling_strategy=random"),
        ("sampling.strategy=temperature", "trainer.gradient_accumulation_steps=2"),
        ("fusion=router", "unfreeze.adapters=true", "trainer.max_steps=4"),
    ],
)
def test_other_ways_to_mix_and_train_take_them_too(root, words):
    name = words[0].partition("=")[2]
    tiny.stage(*FUSION, f"name={name}", f"output_root={root}", *words)
    assert {f"{task}/{metric}" for task, metric in TARGETS.items()} <= tiny.metrics(root / "fusion" / name)[
        "test"
    ].keys()


def same(one, other):
    for file in ("fusion.safetensors", "heads.safetensors"):
        ours, theirs = load_file(one / file), load_file(other / file)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert (value - theirs[key]).abs().max() < 1e-5, key


def test_a_fusion_for_every_type_is_distilled_into_one_adapter(root):
    distances = []
    for name, rate in (("unmoved", 1e-9), ("near", 5e-3)):
        words = (
            "distill.alpha=1",
            "distill.beta=0.1",
            f"trainer.learning_rate={rate}",
            "trainer.num_train_epochs=4",
        )
        tiny.stage("stage=distill", f"run={root}/fusion/all", f"name={name}", f"output_root={root}", *words)
        found = tiny.metrics(root / "adapters" / name)
        assert {f"{task}/{metric}" for task, metric in TARGETS.items()} <= found["test"].keys()
        teacher, student = (AdaptedModel.load(root / where) for where in ("fusion/all", f"adapters/{name}"))
        texts = [row["text"] for row in tiny.said(root / "fusion" / "all") if row["task"] == "interests"]
        said = [model.predict(texts, task="interests") for model in (teacher, student)]
        distances.append(
            sum(
                abs(p.probabilities[k] - q.probabilities[k])
                for p, q in zip(*said, strict=True)
                for k in p.probabilities
            )
        )
    assert distances[1] < 0.7 * distances[0]


def test_reusing_lower_layers_changes_nothing(root):
    tiny.stage(*FUSION, "name=reused", f"output_root={root}", *EXACT, "trainer.reuse_lower_layers=true")
    same(root / "fusion" / "all", root / "fusion" / "reused")


def test_two_processes_that_were_stopped_train_what_one_would(root):
    steps = [f"trainer.{kind}_{key}" for kind in ("save", "eval") for key in ("strategy=steps", "steps=5")]
    words = (*tiny.QUICK, *FUSION, "name=two", f"output_root={root}", *EXACT, *steps)
    shared = (*words, "trainer.per_device_train_batch_size=4")
    stopped = torchrun(str(Path(__file__).parent / "stopped_run.py"), "stepping", "11", *shared)
    assert stopped.returncode != 0
    assert list((root / "fusion" / ".two.work").glob("checkpoint-10/complete.json"))
    done = torchrun("-m", "fusion_pipeline", *shared, "resume=true")
    assert done.returncode == 0, done.stderr
    same(root / "fusion" / "all", root / "fusion" / "two")
    alone, two = (tiny.metrics(root / "fusion" / name) for name in ("all", "two"))
    assert two["world_size"] == 2
    assert two["test"] == pytest.approx(alone["test"], abs=1e-4)
