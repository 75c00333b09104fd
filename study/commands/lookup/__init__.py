"""What the command line's arguments name: a dataset, a trial of a study, a trained network."""
