"""What a study has stored, by the names that people give: ended trials, networks."""
