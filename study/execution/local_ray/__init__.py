"""The Ray that a driver starts for itself: where its files lie, and what watches over it."""
