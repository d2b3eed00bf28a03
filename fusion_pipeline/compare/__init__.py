"""Does fusion help? The same targets, seeds, data and selection for every contender."""
