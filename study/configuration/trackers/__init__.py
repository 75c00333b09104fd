"""Which experiment trackers a study reports to, and whether they can be reached from here."""
