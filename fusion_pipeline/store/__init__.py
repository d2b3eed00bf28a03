"""One artefact, one folder: `manifest.json` (what it is, sha256 of its files), safetensors and JSON.

A folder appears whole or not at all: it is written under a hidden name, checked, and renamed into place.
"""

from fusion_pipeline.store.compare import same_config
from fusion_pipeline.store.disk import as_disk_error, disk_errors
from fusion_pipeline.store.find import artefacts, find
from fusion_pipeline.store.integrity import verify
from fusion_pipeline.store.locks import BusyError, lock
from fusion_pipeline.store.manifest import FORMAT, KINDS, MANIFEST, Manifest
from fusion_pipeline.store.names import check_name, safe_name
from fusion_pipeline.store.publish import publish
from fusion_pipeline.store.tensors import load_strict, load_tensors, parameter_count, save_tensors

__all__ = [
    "FORMAT",
    "KINDS",
    "MANIFEST",
    "BusyError",
    "Manifest",
    "artefacts",
    "as_disk_error",
    "check_name",
    "disk_errors",
    "find",
    "load_strict",
    "load_tensors",
    "lock",
    "parameter_count",
    "publish",
    "safe_name",
    "same_config",
    "save_tensors",
    "verify",
]
