"""A training run of AdapterHub's trainer, recorded: ours takes the same steps but for that trainer's two defects.

The trainer adds the fusion's penalty when a step is over and its gradients were zeroed: what is left there
is added to the next step's gradients. So the first step goes without a penalty, the penalty of the last
weights is for nothing, and no logged loss contains any. And its weight decay means to spare the value
matrix, but looks for the name at the wrong end of the key, so that the matrix decays towards zero while
the penalty pulls it towards the identity.
"""

from dataclasses import dataclass

import golden
import numpy as np
import pytest
import recorded
import torch
from torch.nn import functional as F

from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.arguments import TrainerSpec
from fusion_pipeline.training.batches import Collator, MixSpec
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import FitSpec, build_trainer

SETTINGS, HELD = golden.training()
DATA = {key.removeprefix("data/"): value for key, value in HELD.items() if key.startswith("data/")}
FINAL = {key.removeprefix("final/"): value for key, value in HELD.items() if key.startswith("final/")}
LOSSES = HELD["losses"].tolist()
CLOSE = {"rtol": 0, "atol": 1e-8}  # recorded in float64


@dataclass(frozen=True)
class Defects:
    """What of that trainer a run takes over."""

    late_penalty: bool = True
    decayed_value: bool = True
    penalty: bool = True


def start(folder, **values):
    """The model as it was before the first step, training what that library trains."""
    model = recorded.fused(golden.unpack_training(folder), dropout=False, **values)
    head = model.heads.names()[0]
    model.train_only(fusion=recorded.FUSED, heads=[head])
    # There the head is the last linear alone: the dense before it is the backbone's pooler, and frozen.
    model.heads[head].dense.requires_grad_(False)
    return model.train()


def final(model):
    """The trained weights by that library's keys, without the key's bias, whose gradient is rounding."""
    part = model.fusions[recorded.FUSED].named_parameters()
    found = {recorded.their_key(ours): value for ours, value in part if not ours.endswith("key.bias")}
    (head,) = (model.heads[name] for name in model.heads.names())
    found |= {"classifier.weight": head.out.weight, "classifier.bias": head.out.bias}
    return {key: value.detach().clone() for key, value in found.items()}


def gaps(found, wanted=FINAL):
    """{kind of parameter: largest difference}."""
    kinds = ("query", "key", "value", "classifier")
    return {
        kind: max(
            float((found[key] - wanted[key]).abs().max()) for key in found if kind in key.split(".layer.")[-1]
        )
        for kind in kinds
    }


def optimizer_of(model, *, decayed_value):
    """AdamW as transformers groups it: no decay on biases."""
    groups = {SETTINGS["weight_decay"]: [], 0.0: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            spared = name.endswith("bias") or (name.endswith("value.weight") and not decayed_value)
            groups[0.0 if spared else SETTINGS["weight_decay"]].append(parameter)
    listed = [{"params": params, "weight_decay": decay} for decay, params in groups.items()]
    return torch.optim.AdamW(listed, lr=SETTINGS["learning_rate"])


def run_loop(model, defects):
    """That trainer's steps written out; returns the losses before each."""
    optimizer, losses, late = optimizer_of(model, decayed_value=defects.decayed_value), [], None
    trained = [p for p in model.parameters() if p.requires_grad]
    inputs = {key: value for key, value in DATA.items() if key != "labels"}
    for _ in range(SETTINGS["max_steps"]):
        loss = F.cross_entropy(model(**inputs).logits, DATA["labels"])
        losses.append(float(loss.detach()))
        penalty = late if defects.late_penalty else model.penalty()
        if penalty is not None and defects.penalty:
            penalty.backward()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, SETTINGS["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad()
        late = model.penalty()
    return losses


def test_with_both_defects_written_out_the_run_is_the_recorded_one(tmp_path):
    model = start(tmp_path)
    before = final(model)
    losses = run_loop(model, Defects())
    assert losses == pytest.approx(LOSSES, abs=1e-8)
    assert max(gaps(final(model)).values()) < 1e-8, gaps(final(model))
    assert min(gaps(before).values()) > 1e-2, "nothing would show in a run that moves so little"
    assert LOSSES[-1] < LOSSES[0] - 0.1


@pytest.mark.parametrize(
    "without",
    [Defects(late_penalty=False), Defects(decayed_value=False), Defects(penalty=False)],
    ids=["penalty in its own step", "value spared", "no penalty"],
)
def test_without_one_of_the_defects_it_is_another_run(tmp_path, without):
    model = start(tmp_path)
    run_loop(model, without)
    assert gaps(final(model))["value"] > 1e-4


def run_ours(model, folder):
    """Our trainer on the same batch with the same settings; returns the losses it trains on."""
    lengths = DATA["attention_mask"].sum(1).numpy()
    rows = Encoded(
        task=model.heads.names()[0],
        ids=DATA["input_ids"][DATA["attention_mask"] > 0].numpy(),
        types=None,
        starts=np.concatenate([[0], lengths.cumsum()]),
        labels=DATA["labels"].numpy(),
    )
    labels = model.head_spec(rows.task).labels
    task = TaskSpec(name=rows.task, type="classification", labels=labels, metric="accuracy", text=("text",))
    fields = {key: value for key, value in SETTINGS.items() if key != "seed"}
    fields |= {"use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
    trainer, _ = build_trainer(
        model,
        [task],
        {"train": [rows]},
        FitSpec(
            trainer=TrainerSpec.from_section(fields),
            mix=MixSpec(),
            seed=SETTINGS["seed"],
            work=folder / "work",
            label="test",
        ),
    )
    trainer.data_collator = Collator(pad_id=1)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_our_trainer_has_the_penalty_in_the_loss_and_the_gradient_of_its_own_step(tmp_path):
    model = start(tmp_path)
    penalty = float(model.penalty().detach())
    losses = run_ours(model, tmp_path)
    assert losses[0] == pytest.approx(LOSSES[0] + penalty, abs=1e-3)
    assert penalty > 0.1
    # The very run of the plain loop with neither defect …
    other = start(tmp_path)
    run_loop(other, Defects(late_penalty=False, decayed_value=False))
    assert max(gaps(final(model), final(other)).values()) < 1e-8
    # … and not the recorded one: from the first step on, V moves by the penalty's pull and without decay.
    assert gaps(final(model))["value"] > 1e-3


def test_our_trainer_without_a_penalty_takes_the_loops_steps_without_one(tmp_path):
    model, other = start(tmp_path / "ours"), start(tmp_path / "loop")
    for part in (model, other):
        for _, site in part.fusions[recorded.FUSED].items():
            object.__setattr__(site.spec, "regularization", 0.0)
    assert model.penalty() is None
    losses = run_ours(model, tmp_path)
    run_loop(other, Defects(decayed_value=False))
    assert losses[0] == pytest.approx(LOSSES[0], abs=1e-3)
    assert max(gaps(final(model), final(other)).values()) < 1e-8
