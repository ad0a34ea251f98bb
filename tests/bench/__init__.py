"""What a call costs, and what makes it cost that: by hand, on a quiet machine."""
