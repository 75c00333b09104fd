"""What a study writes down: how each trial ended, and the rows of its tables."""
