"""Commands that help to write a study."""
