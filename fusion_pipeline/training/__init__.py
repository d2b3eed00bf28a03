"""Training: encoding, batches, a small Trainer subclass and its callbacks."""
