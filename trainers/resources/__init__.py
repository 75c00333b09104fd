"""The peak memory of a process, and work that is done again and again beside another."""
