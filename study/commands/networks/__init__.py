"""Commands on networks and datasets, without a study."""
