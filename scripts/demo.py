"""The demo: adapters and a fusion on the embedded corpus, own adapter against fusion on the small target.

Run it with `make demo`. It uses the command line as a person would and writes `outputs/demo/report.html`.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from rich.console import Console

from fusion_pipeline.cli import main as command

ROOT = Path("outputs/demo")
SOURCES, TARGET = ("sentiment", "nli", "paraphrase"), "review_check"


def main() -> int:
    """Runs the commands one after the other; stops at the first that fails."""
    started = time.monotonic()
    arguments = [
        "stage=compare",
        f"adapters=[{','.join(SOURCES)}]",
        f"target={TARGET}",
        "experiment=demo",
        f"output_root={ROOT}",
    ]
    console = Console(highlight=False)
    console.print("$ python -m fusion_pipeline " + " ".join(arguments), markup=False)
    code = command(arguments)
    if code == 0:
        # The page holds its pictures; report.md, with the same pictures as files, stays where it is.
        shutil.copy(ROOT / "compare" / TARGET / "report.html", ROOT / "report.html")
        console.print(f"\nopen {ROOT / 'report.html'} in a browser")
        console.print(f"demo done in {time.monotonic() - started:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
