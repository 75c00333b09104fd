"""Keys of what a process that stands for a trial is asked and answers."""

MEMORY, TIMES, REPORT, STEPS, ERROR, LACKS = "memory", "times", "report", "steps", "error", "lacks"
IMPORT_S = "import_s"

DO = "do"
"""Key of what is asked for: one of the three below."""
MEASURE, TRAIN, TIME_STEPS = "measure", "train", "time steps"
