"""How the images of the dataset `streets` are drawn."""
