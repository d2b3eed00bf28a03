"""Stages: one function `run(run)` each, named by `configs/stage/*.yaml`."""
