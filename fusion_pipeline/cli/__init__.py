"""The command line: what a person types → a composed config → one stage, or one clear error."""

from fusion_pipeline.cli.main import main

__all__ = ["main"]
