"""What networks and training steps cost: operations, latency, memory."""
