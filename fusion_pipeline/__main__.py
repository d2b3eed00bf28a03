"""`python -m fusion_pipeline` and the console script `fusion-pipeline`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and leaves with its exit code."""
    from fusion_pipeline.cli import main as answer

    sys.exit(answer(sys.argv[1:]))


if __name__ == "__main__":
    main()
