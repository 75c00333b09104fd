"""Commands that read the tables of studies."""
