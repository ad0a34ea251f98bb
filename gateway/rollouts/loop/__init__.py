"""One rollout: the model, its tools, and what they said."""
