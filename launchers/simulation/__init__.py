"""What the simulated replicas are made of."""
