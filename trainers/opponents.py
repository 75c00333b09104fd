"""The former path of `trainers.distillation.adversaries`."""

from trainers.distillation.adversaries import AdversaryTraining as OpponentTraining

__all__ = ["OpponentTraining"]
