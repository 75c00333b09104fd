"""Pictures of predictions: which images, what is kept of them, and how they are drawn. Networks run elsewhere."""
