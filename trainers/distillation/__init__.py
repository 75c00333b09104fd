"""The training step: the student with its methods, the weighted sum of their terms, adversaries, pretraining."""
