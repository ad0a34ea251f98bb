"""A platform of vLLM's that computes on the CPU and lets Ray count imitation GPUs for it."""

from vllm.platforms.cpu import CpuPlatform


class RayCpuPlatform(CpuPlatform):  # type: ignore[misc, unused-ignore]
    """vLLM's own, but for the name under which Ray knows its devices."""

    ray_device_key = "GPU"


def plugin() -> str:
    """Where vLLM finds the platform."""
    return f"{__name__}.{RayCpuPlatform.__name__}"
