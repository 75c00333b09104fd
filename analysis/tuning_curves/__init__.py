"""How good the best setting found is against what its search cost, and at what cost the answer changes."""
