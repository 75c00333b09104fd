"""The former path of `trainers.distillation.objective`."""

from trainers.distillation.objective import DivergedError, Objective

__all__ = ["DivergedError", "Objective"]
