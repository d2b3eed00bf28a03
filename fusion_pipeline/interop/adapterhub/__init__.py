"""The format of AdapterHub's `adapters` library (1.x): adapters, heads, fusions and whole set-ups.

Each object is a folder with a JSON file and a weight file, safetensors or a torch file.
"""

from fusion_pipeline.interop.adapterhub.files import Saved, find_objects, read_object
from fusion_pipeline.interop.adapterhub.loading import load_adapter, load_fusion, load_head

__all__ = ["Saved", "find_objects", "load_adapter", "load_fusion", "load_head", "read_object"]
