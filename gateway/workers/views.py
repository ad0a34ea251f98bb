"""What workers are told of the replicas."""

from gateway.gateway import Gateway
from gateway.routing.replicas import Replicas
from gateway.workers.messages import Up, View


def view(replicas: Replicas) -> View:
    """How they are now."""
    up = {m.name: Up(m.replica.url, dict(m.replica.headers)) for m in replicas if m.up}
    limited = replicas.rules.max_in_flight is not None
    return View(replicas.name, replicas.model, replicas.headers, limited, up)


def apply(view: View, gateway: Gateway) -> None:
    """Let the replies of a worker's gateway tell of them, and its requests name their model."""
    for engine in gateway.parts.engines.values():
        if engine.replicas.name == view.pool:
            engine.replicas.model = view.model
            engine.replicas.headers = dict(view.headers)
