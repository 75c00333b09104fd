"""One setting against another, with intervals, and the words for it."""
