"""What a study will take on this machine, before it begins."""
