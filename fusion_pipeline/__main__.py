"""`python -m fusion_pipeline` and the console script `fusion-pipeline`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Runs the command line and leaves with its exit code."""
    # Before torch loads OpenMP: threads that wait give their core away. A few percent slower on a quiet machine,
    # several times faster where something else runs on the same cores (docs/speed.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from fusion_pipeline.cli import main as answer

    sys.exit(answer(sys.argv[1:]))


if __name__ == "__main__":
    main()
