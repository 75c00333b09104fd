"""Which trials no other is better than in everything that counts."""
