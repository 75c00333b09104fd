"""What students and teachers find hard: pictures, and shares of each class."""
