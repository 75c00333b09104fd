"""The peak memory of a process, and periodic calls in a background thread."""
