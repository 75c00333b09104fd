"""Commands that start, follow or repeat searches."""
