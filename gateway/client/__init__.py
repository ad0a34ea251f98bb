"""The other end of an address: what the commands that are clients have in common."""
