"""What is measured rather than tested: by hand, on a quiet machine."""
