"""This pipeline's own artefacts."""
