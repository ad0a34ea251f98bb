"""What runs on the nodes: shipped as source text, so it imports nothing of ours."""
