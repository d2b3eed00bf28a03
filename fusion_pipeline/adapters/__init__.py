"""Adapters: modules that compute a delta at a site, and banks that compute many at once."""

from fusion_pipeline.adapters.bank import Bank, Hidden, LowRankBank
from fusion_pipeline.adapters.bottleneck import Bottleneck, BottleneckSpec
from fusion_pipeline.adapters.delta_bank import DeltaBank
from fusion_pipeline.adapters.spec import AdapterSpec, Between, LowRank

__all__ = [
    "AdapterSpec",
    "Bank",
    "Between",
    "Bottleneck",
    "BottleneckSpec",
    "DeltaBank",
    "Hidden",
    "LowRank",
    "LowRankBank",
]
