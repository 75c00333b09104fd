"""What is raised where another program has deleted from the ledger; apart, for whoever must not load Optuna."""


class DeletedArmError(ValueError):
    """Another program has deleted an arm from the ledger."""
