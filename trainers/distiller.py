"""The former path of `trainers.distillation.distiller`."""

from trainers.distillation.distiller import Distiller

__all__ = ["Distiller"]
