"""Fusion mechanisms: weights per token over the adapters of a site."""

from fusion_pipeline.fusion.adapterfusion import AdapterFusion, AdapterFusionSpec
from fusion_pipeline.fusion.spec import Fused, Fusion, FusionSpec

__all__ = ["AdapterFusion", "AdapterFusionSpec", "Fused", "Fusion", "FusionSpec"]
