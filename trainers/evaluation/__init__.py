"""Predictions of whole images and what they score."""
