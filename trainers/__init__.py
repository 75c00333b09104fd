"""One trial: train and evaluate a student network, with or without a teacher. Knows nothing of studies."""
