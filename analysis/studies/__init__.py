"""Studies as analysis reads them: tables, runs of a setting, counts per image, parameters."""
