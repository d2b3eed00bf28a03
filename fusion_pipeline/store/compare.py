"""Whether the artefact that is already there was made with the same config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fusion_pipeline.store.manifest import Manifest

_ABSENT = object()


def same_config(manifest: Manifest, config: Mapping[str, Any]) -> list[str]:
    """The keys (`adapter.reduction_factor`) whose values differ; empty where the configs are the same."""
    old, new = _flat(manifest.config), _flat(config)
    return sorted(key for key in old.keys() | new.keys() if old.get(key, _ABSENT) != new.get(key, _ABSENT))


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    # Through JSON, as the manifest went: tuples are lists there and keys are text.
    return dict(_leaves(json.loads(json.dumps(config)), ""))


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        return [(path, value)] if path else []
    return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{path}.{key}" if path else key)]
