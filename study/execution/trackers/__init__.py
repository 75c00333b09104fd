"""Experiment trackers: what the tables get of a trial, sent to TensorBoard, CSV files, Weights & Biases and MLflow."""
