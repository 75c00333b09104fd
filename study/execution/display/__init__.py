"""What a driver shows of its study while it runs: arms, running trials and the time left."""
