"""A study: search, run, resume; the only package that knows all the others."""
