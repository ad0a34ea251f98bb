"""The command: serve, check, explain, and the clients."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvloop

from gateway import logs, standard_streams
from gateway.app import build
from gateway.arguments import Arguments, parse
from gateway.codec import decode_request
from gateway.config import Config, show
from gateway.config.shipped import listing
from gateway.errors import ConfigError, GatewayError, LaunchError, StartError
from gateway.explain import explain
from gateway.file_limit import raise_file_limit
from gateway.garbage import look_rarely
from gateway.gateway import Gateway
from gateway.masking import masked, without_user
from gateway.pipeline import entries
from gateway.publish import publish
from gateway.web.server import Server, running
from gateway.workers.supervisor import Supervisor, supervising

logger = logging.getLogger(__name__)

EMBEDDED = """\
no model is configured: this is the simulated one, it only plays a model. Try
  curl http://{address}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"messages": [{{"role": "user", "content": "Hello!"}}]}}'"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 stopped by a signal, 1 failed at run time, 2 bad configuration."""
    standard_streams.open_closed()
    logs.to_stderr()
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # as of a command that ends so: whoever read stdout has seen enough
        standard_streams.give_up_stdout()
        return 128 + signal.SIGPIPE
    except ConfigError as error:
        print("\n".join(error.faults), file=sys.stderr)
        return 2
    except StartError as error:
        print("\n".join(error.faults), file=sys.stderr)
        return 1


def _run(given: Sequence[str]) -> int:
    if given and given[0] in _CLIENTS:
        status: int = import_module(_CLIENTS[given[0]]).main(given[1:])
        return status
    arguments = parse(given)
    if arguments.command == "configs":
        return list_configurations()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_COMMANDS[arguments.command](arguments.config(), arguments))


async def check(config: Config, _: Arguments) -> int:
    """Print the resolved configuration, the pipeline of each model, and what is launched."""
    groups = Gateway.of(config).parts.groups
    print(show(config).rstrip())
    for name, model in config.models.items():
        print(f"\npipeline of {name}, outermost first")
        for entry in entries(model, config.record):
            options = ", ".join(f"{k}={v!r}" for k, v in masked(entry.options).items())
            print(without_user(f"  {entry.name}({options})"))
    try:
        for group in groups:
            print(f"\nlaunch\n{await group.describe()}")
    except LaunchError as error:
        raise ConfigError(error.faults) from None
    return 0


def list_configurations() -> int:
    """Print the shipped configurations."""
    for found in listing():
        print(f"{found.name}\n  {found.description}\n  {found.model}")
    return 0


async def launch(config: Config, arguments: Arguments) -> int:
    """Run the engines of the models, for gateways that read the published file."""
    stop, _ = _signals()
    publishing = asyncio.create_task(publish(config, Path(str(arguments.publish))))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([publishing, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    publishing.cancel()
    with _start_error(), suppress(asyncio.CancelledError):
        await publishing
    return 0


async def explain_file(config: Config, arguments: Arguments) -> int:
    """Print what the pipeline makes of the request in a file."""
    try:
        raw = await asyncio.to_thread(Path(str(arguments.request)).read_bytes)
        print(await explain(config, Gateway.of(config).catalog, decode_request(raw)))
    except OSError as error:
        raise ConfigError(f"cannot read the request: {error}") from None
    except GatewayError as error:
        print(f"the request is refused ({error.status}): {error.message}")
    return 0


async def serve(config: Config, arguments: Arguments) -> int:
    """Serve until a signal; SIGHUP reads the configuration again."""
    raise_file_limit()
    stop, hurry = _signals()
    again = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again.set)
    several = config.worker_count > 1
    async with supervising(config) if several else running(build(config)) as server:
        listen = config.listen
        try:
            await server.listen(listen.host, listen.port)
        except OSError as error:
            address = _address(listen.host, listen.port)
            print(f"cannot listen on {address}: {error}", file=sys.stderr)
            return 1
        _warn_of_the_open(config)
        look_rarely()
        async with _reloading(server, arguments, again):
            await _until(stop, server, arguments)
        await server.drain(hurry)
    return 0


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first signal to stop, and by the second one."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    return stop, hurry


@asynccontextmanager
async def _reloading(
    server: Server | Supervisor, arguments: Arguments, again: asyncio.Event
) -> AsyncIterator[None]:
    """Inside of this the gateway goes over to what the configuration says, whenever it is asked."""

    async def reload() -> None:
        while True:
            await again.wait()
            again.clear()
            try:
                await server.reload(await asyncio.to_thread(arguments.config))
                logger.info("the configuration was read again")
            except ConfigError as error:
                faults = "; ".join(error.faults)
                logger.error("the configuration stays as it was: %s", faults)
            except Exception:  # a middleware's own; the next configuration may do without it
                logger.exception("the configuration stays as it was")

    reloading = asyncio.create_task(reload())
    try:
        yield
    finally:
        reloading.cancel()


async def _until(stop: asyncio.Event, server: Server | Supervisor, arguments: Arguments) -> None:
    """Return at the signal; raises what keeps an engine from going on."""
    gateway = server.gateway
    announcing = asyncio.create_task(_announce(server, arguments))
    waiting = [asyncio.create_task(event.wait()) for event in (stop, gateway.failed)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if gateway.failure is not None:
            with _start_error():
                raise gateway.failure
    finally:
        for task in (announcing, *waiting):
            task.cancel()


@contextmanager
def _start_error() -> Iterator[None]:
    """Raises the first error of what keeps the gateway from starting, without its groups."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group.subgroup(StartError) or group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def _announce(server: Server | Supervisor, arguments: Arguments) -> None:
    """Say that all models are up, once they are, and what is served."""
    await server.listening()
    models = server.gateway.catalog.models
    for served in models.values():
        await served.pool.replicas.up.wait()
    address = _address(server.gateway.parts.config.listen.host, server.port)
    print(f"gateway ready on http://{address}", flush=True)
    for name, served in models.items():
        cards = ", ".join(served.pool.replicas.cards)
        print(f"model {name}: {served.pool.engine_model} on {cards}", flush=True)
    if arguments.embedded:
        print(EMBEDDED.format(address=address), flush=True)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _warn_of_the_open(config: Config) -> None:
    host = config.listen.host
    if not config.api_keys and host != "localhost" and not _is_loopback(host):
        logger.warning("anybody who reaches %s may call: there are no api_keys", host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


_COMMANDS: Mapping[str, Callable[[Config, Arguments], Coroutine[Any, Any, int]]] = {
    "serve": serve,
    "check": check,
    "explain": explain_file,
    "launch": launch,
}
_CLIENTS = {"try": "gateway.tryout.command", "collect": "gateway.rollouts.command"}
"""Where their ``main`` is; a gateway does without them."""
