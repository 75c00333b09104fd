"""Keys of the reports by which a trial's process tells the driver how it goes."""

FINAL = "final"
"""Key of the report that ends a trial which used its whole budget."""
ERROR = "error"
"""Key of the report that ends a trial which a retry would not help."""
STOPPED = "stopped"
"""Key of the report that ends an attempt which was asked to stop and left a checkpoint to go on from."""
PEAK = "memory/peak_mib"
