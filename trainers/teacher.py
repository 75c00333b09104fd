"""The former path of `trainers.teachers.teacher`."""

from trainers.teachers.teacher import Teacher, TeacherCard, load, probe, read_card, save, sha256

__all__ = ["Teacher", "TeacherCard", "load", "probe", "read_card", "save", "sha256"]
