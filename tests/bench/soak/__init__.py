"""A gateway under load with replicas that die: whether anything grows, and no call is lost."""
