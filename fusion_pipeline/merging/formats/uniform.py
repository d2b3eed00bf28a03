"""One scale for a whole file, where modules have several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion_pipeline.merging.update import Update


@dataclass
class OneScale:
    """The first module's scale becomes the file's; the ratio of any other goes into its B."""

    value: float | None = None

    def applied(self, update: Update) -> Update:
        """The same update, with the file's scale."""
        if self.value is None:
            self.value = update.scale if update.scale > 0 else 1.0
        ratio = update.scale / self.value
        return replace(update.times(ratio), scale=self.value)
