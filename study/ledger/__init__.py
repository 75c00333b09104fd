"""The ledger: one Optuna study per arm, the single source of truth about trials."""
