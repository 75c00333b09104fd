"""What is searched: YAML spaces, and the one module that reads them into Optuna distributions."""
