"""Heads: pooled hidden states → a task's prediction and its loss."""

from fusion_pipeline.heads.head import Head, HeadSettings, HeadSpec
from fusion_pipeline.heads.pooling import pool

__all__ = ["Head", "HeadSettings", "HeadSpec", "pool"]
