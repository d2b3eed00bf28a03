"""The frozen backbone: where it comes from, its tokenizer, and a fingerprint of its weights."""

from fusion_pipeline.backbone.spec import Backbone, BackboneSpec, fingerprint

__all__ = ["Backbone", "BackboneSpec", "fingerprint"]
