"""What other early stopping, another budget or fewer seeds would have made of a study, from what it has stored."""
