"""One OpenAI-compatible address in front of many vLLM replicas."""

__version__ = "0.1.0"
