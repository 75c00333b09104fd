"""Which outputs of a study's teacher are recorded, by what its planned trials read and what fits on the disk."""
