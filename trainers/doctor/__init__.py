"""What a machine can do: its devices, and whether a trial trains there as it should."""
