"""HTTP towards the replicas: one request, and how its answer is read."""
