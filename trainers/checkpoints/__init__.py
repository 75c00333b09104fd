"""The checkpoints of a trial: where they lie, what proves that they are whole, how they are read."""
