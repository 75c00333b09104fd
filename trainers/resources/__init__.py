"""What training and inference take of a machine: latency, memory, and a thread that notes it."""
