"""Where adapters read and write: sites on a backbone, described by one table per family."""

from fusion_pipeline.sites.site import Site, SiteInput
from fusion_pipeline.sites.table import SiteTable, load_table

__all__ = ["Site", "SiteInput", "SiteTable", "load_table"]
