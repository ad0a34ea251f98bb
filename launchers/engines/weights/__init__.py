"""The weights of the models, on every node that needs them."""
