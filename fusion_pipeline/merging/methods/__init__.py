"""The merge methods: one file each, and one yaml each in `configs/merge`."""
