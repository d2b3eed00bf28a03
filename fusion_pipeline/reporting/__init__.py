"""What a person reads of a run: tables, cards, pictures, wandb."""
