"""The peak memory of a process, what it prints, and periodic calls in a background thread."""
