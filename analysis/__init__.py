"""What the tables of a study say: reads tables and files, never runs a network."""
