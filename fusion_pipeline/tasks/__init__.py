"""Tasks: what they are, where their rows come from, and how they are scored.

The doors are `tasks.data.load_task`, `tasks.resolve.known_tasks` and `tasks.metrics.compute`.
"""
