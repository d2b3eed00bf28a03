"""Callbacks: what only observes a training run."""

from fusion_pipeline.training.callbacks.checkpoints import KeepCheckpoints, last_checkpoint
from fusion_pipeline.training.callbacks.fusion_weights import FusionWeightLog
from fusion_pipeline.training.callbacks.history import LearningCurve, learning_curve
from fusion_pipeline.training.callbacks.progress import Progress

__all__ = [
    "FusionWeightLog",
    "KeepCheckpoints",
    "LearningCurve",
    "Progress",
    "last_checkpoint",
    "learning_curve",
]
