"""Stage 2 on tiny weights: models, trainers and whole fits that the tests of training share."""

import tiny
import torch
from transformers import TrainerCallback

from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.training.fit import build_trainer, fit

NAMES = ("one", "two")


def fused(*tasks, tuned=(), dropout=0.0, **spec):
    """Stage 2 on tiny weights: a fusion over two adapters, a head for each task, and only these train."""
    model = tiny.adapted(pooling="mean", dropout=dropout > 0)
    for n, name in enumerate(NAMES):
        model.add_adapter(name, tiny.bottleneck(width=4 + n))
        tiny.shake(model.adapters[name], 0.3, seed=n)
    model.add_fusion("mix", AdapterFusionSpec(**spec), NAMES)
    tiny.shake(model.fusions["mix"], 0.3, seed=9)
    torch.manual_seed(0)
    for task in tasks:
        labels = task.spec.labels
        model.add_head(task.spec.name, HeadSpec(type=task.spec.type, labels=labels, dropout=dropout))
    model.train_only(fusion="mix", adapters=tuned, heads=[task.spec.name for task in tasks])
    model.set_active(NAMES, fusion="mix", head=tasks[0].spec.name)
    return model


def trainer_for(model, tasks, work, *callbacks, **options):
    splits = tiny.encoded(model, *tasks)
    trainer, _ = build_trainer(model, [task.spec for task in tasks], splits, tiny.fit_spec(work, **options))
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def run_fit(model, tasks, work, **options):
    spec = tiny.fit_spec(work, **options)
    return fit(model, [task.spec for task in tasks], tiny.encoded(model, *tasks), spec)


def state(model):
    return {name: value.clone() for name, value in model.trained_state().items()}


class At(TrainerCallback):
    """Does something to the model after one step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step == self.step:
            with torch.no_grad():
                self.action(model)
