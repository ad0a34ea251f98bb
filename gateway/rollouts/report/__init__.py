"""What people see of a run: how far it is, and what it came to."""
