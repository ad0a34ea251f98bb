"""What can be known of a launch before anything starts."""

import os
import sys

from attrs import field, frozen

from gateway.errors import LaunchError
from launchers.engines import flags
from launchers.engines.command import overruled, refused, training
from launchers.engines.interpreter import Interpreter, missing, probe, untried
from launchers.engines.serving import Serving


@frozen
class Preflight:
    """What was found out about one model's launch."""

    serving: Serving
    found: Interpreter | None = None
    """None if its interpreter does not work on this machine."""
    unusable: str | None = None
    """Why not, in a sentence."""
    faults: list[str] = field(factory=list)
    """What vLLM would refuse, in a sentence each."""
    notes: list[str] = field(factory=list)
    """What its user should know, in a sentence each."""

    @property
    def missing(self) -> str | None:
        """What must be done before an engine can start on this machine, in a sentence."""
        if self.found is None:
            return self.unusable
        own = self.serving.python == sys.executable  # which joins the cluster, whatever vLLM needs
        return missing(self.found, needs_ray=own or not self.on_cpu)

    @property
    def on_cpu(self) -> bool:
        """Whether its vLLM is one that needs no GPU."""
        return self.found is not None and self.found.cpu


def preflight(serving: Serving) -> Preflight:
    """Look at one model, without starting anything but its interpreter for a moment."""
    notes, impossible = [*overruled(serving), *_told(serving)], [*refused(serving)]
    try:
        found = probe(serving.python, serving.environment)
    except LaunchError as error:
        return Preflight(serving, None, error.faults[0], impossible, notes)
    notes += [warning] if (warning := untried(found)) else []
    faults = [*flags.unknown(serving.kwargs), *flags.wrong(serving.kwargs)]
    if found.vllm == flags.VERSION:
        return Preflight(serving, found, None, [*impossible, *faults], notes)
    of = f"by the flags of vLLM {flags.VERSION}"
    doubts = [f"{fault} ({of})" for fault in faults]
    return Preflight(serving, found, None, impossible, [*notes, *doubts])


def _told(serving: Serving) -> list[str]:
    told = [f"{key}: {value}, since token ids are on" for key, value in training(serving).items()]
    if "HF_HOME" in os.environ and serving.hf_home == os.path.abspath(os.environ["HF_HOME"]):
        told.append(f"weights are kept in {serving.hf_home}, as HF_HOME says")
    return told
