"""All that knows Ray: the driver of a study, its trials, and what it records of them."""
