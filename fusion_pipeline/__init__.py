"""Adapters, AdapterFusion and their honest comparison on frozen Hugging Face backbones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel

__version__ = "0.1.0"
__all__ = ["AdaptedModel", "__version__"]


def __getattr__(name: str) -> Any:
    """Imports `AdaptedModel` (and torch with it) only when someone asks for it."""
    if name == "AdaptedModel":
        from fusion_pipeline.model import AdaptedModel

        return AdaptedModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
