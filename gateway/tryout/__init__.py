"""A first conversation with an address, to see whether all of it works."""
