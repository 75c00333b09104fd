"""What ranks that train together share: means over the global batch, and tensors of all of them."""
