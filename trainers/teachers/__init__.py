"""Teachers: frozen networks in files that say what they are."""
