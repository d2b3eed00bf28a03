"""The README.md of a merged artefact."""

from __future__ import annotations

from fusion_pipeline.store import Manifest


def merged_card(manifest: Manifest, command: str, head: str) -> str:
    """What was merged, how, and how to use it."""
    made, backbone = manifest.config["merge"], manifest.backbone
    method = ", ".join(f"{key}={value}" for key, value in made["method"].items() if key != "kind")
    weights = made["weights"] or [1.0] * len(made["inputs"])
    lines = [
        f"- {one['name']} ({one['format']}, weight {weight}, sha256 `{one['sha256'][:12]}`)"
        for one, weight in zip(made["inputs"], weights, strict=True)
    ]
    parts = [
        f"# {manifest.name}",
        f"Adapters merged in weight space by `{made['method']['kind']}` ({method}), for the backbone "
        f"{backbone['name']} (fingerprint `{str(backbone['fingerprint'])[:12]}`). {head[0].upper()}{head[1:]}.",
        "## Merged\n\n" + "\n".join(lines),
        "## Notes\n\n" + "\n".join(f"- {note}" for note in manifest.notes),
        f"Made with:\n\n```\n{command}\n```",
    ]
    return "\n\n".join(parts) + "\n"
