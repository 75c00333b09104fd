"""Keys of what a process that stands for a trial answers."""

MEMORY, TIMES, REPORT, ERROR, LACKS = "memory", "times", "report", "error", "lacks"
IMPORT_S = "import_s"
