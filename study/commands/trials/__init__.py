"""Commands on one trial or its checkpoint."""
