"""Recorded outputs of a frozen teacher: computed by the trial that reaches an iteration first, read by later ones."""
