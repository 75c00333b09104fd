"""What a search optimises beside mIoU: what the students take that it may draw."""
