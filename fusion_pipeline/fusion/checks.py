"""What fusion settings are refused for."""

from __future__ import annotations

from fusion_pipeline import errors
from fusion_pipeline.errors import PipelineError


def require(holds: bool, key: str, value: object, wanted: str) -> None:
    """Refuses `fusion.<key>=<value>` unless it holds."""
    errors.require(holds, f"fusion.{key}", value, wanted)


def check_heads(heads: int, dim: int) -> None:
    """Refuses heads that do not share the dimensions evenly."""
    if dim % heads:
        fits = [str(h) for h in range(1, min(dim, 64) + 1) if dim % h == 0]
        raise PipelineError(
            f"{heads} heads do not divide the {dim} dimensions of the site",
            where="fusion.heads",
            hint=f"one of: {', '.join(fits)}",
        )
