"""New connections, to listeners of all kinds."""

import asyncio
import errno
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from aiohappyeyeballs import AddrInfoType

from gateway.wire import dialing
from gateway.wire.dialing import Dialer, Unconnected
from tests.gateway.wire.scripted import Visit, deaf, no_complaints, serving
from tests.nginx import _certificate

HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
async def clean() -> AsyncIterator[None]:
    async with no_complaints():
        yield


async def dial(port: int, host: str = HOST, *, dialer: Dialer, tls: bool = False) -> int:
    """The port of a connection's other end, after which it is closed."""
    made = await dialer.connect(host, port, tls=tls, make=Held)
    peer: int = made.transport.get_extra_info("peername")[1]
    made.transport.abort()
    await made.lost.wait()
    return peer


class Held(asyncio.Protocol):
    """A protocol that says when it is over."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@contextmanager
def busy() -> Iterator[int]:
    """A port that takes no connection and refuses none."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind((HOST, 0))
        listener.listen(0)
        for _ in range(2):  # all that the kernel lets wait
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_listener_is_reached() -> None:
    async with serving(deaf) as server:
        assert await dial(server.port, dialer=Dialer(5)) == server.port


async def test_an_address_of_version_6_is_reached() -> None:
    async with serving(deaf, host="::1") as server:
        assert await dial(server.port, "::1", dialer=Dialer(5)) == server.port


async def test_a_name_of_which_one_address_has_no_listener_is_reached() -> None:
    async with serving(deaf) as server:
        dialer = Dialer(5)
        for _ in range(2):  # once for each order of its addresses, where it has two
            assert await dial(server.port, "localhost", dialer=dialer) == server.port


async def test_no_listener_is_a_refusal() -> None:
    with pytest.raises(Unconnected, match="Connect call failed") as caught:
        await dial(free_port(), dialer=Dialer(5))
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_listener_that_takes_none_is_given_up() -> None:
    before = open_files()
    with busy() as port:
        with pytest.raises(Unconnected, match=r"^it took too long$") as caught:
            await dial(port, dialer=Dialer(0.05))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert open_files() == before


async def test_a_server_that_never_shakes_hands_is_given_up() -> None:
    async with serving(deaf) as server:
        with pytest.raises(Unconnected, match=r"^it took too long$"):
            await dial(server.port, dialer=Dialer(0.05), tls=True)
        await server.visits[0].over.wait()


async def test_cancelling_leaves_nothing_open() -> None:
    before = open_files()
    with busy() as port:
        task = asyncio.create_task(dial(port, dialer=Dialer(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert open_files() == before


async def test_cancelling_a_handshake_leaves_nothing_open() -> None:
    async with serving(deaf) as server:
        task = asyncio.create_task(dial(server.port, dialer=Dialer(60), tls=True))
        while not server.visits:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.visits[0].over.wait()


async def test_a_lack_of_file_descriptors_is_told() -> None:
    port, (soft, hard) = free_port(), resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(Unconnected) as caught:
            await dial(port, dialer=Dialer(5))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EMFILE


async def test_the_other_end_is_asked_for_signs_of_life() -> None:
    async with serving(deaf) as server:
        made = await Dialer(5).connect(HOST, server.port, tls=False, make=Held)
        own = made.transport.get_extra_info("socket")
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20
        made.transport.abort()
        await made.lost.wait()


# Names.


class Resolver:
    """Knows what a test tells it, and how often it was asked."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []
        self.asked = 0

    def __call__(self, host: str, port: int, type: int, flags: int = 0) -> Sequence[AddrInfoType]:
        found = [] if flags & socket.AI_NUMERICHOST else self._next()
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, type, 0, "", (ip, port)) for ip in found]

    def _next(self) -> list[str]:
        self.asked += 1
        return self.answers.pop(0)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    return made


async def test_a_name_that_nobody_knows_is_told(resolver: Resolver) -> None:
    resolver.answers = [[]]
    with pytest.raises(Unconnected, match="Name or service not known") as caught:
        await dial(80, "nobody.invalid", dialer=Dialer(5))
    assert isinstance(caught.value.__cause__, socket.gaierror)


async def test_a_name_that_cannot_be_one_is_told() -> None:
    with pytest.raises(Unconnected, match=r"label (empty or )?too long"):
        await dial(80, "a" * 64, dialer=Dialer(5))


async def test_an_address_is_no_name_to_ask_for() -> None:
    dialer = Dialer(5)
    async with serving(deaf) as server:
        await dial(server.port, dialer=dialer)
    assert dialer._known == {}


async def test_a_name_is_asked_for_once(resolver: Resolver) -> None:
    resolver.answers = [[HOST]]
    async with serving(deaf) as server:
        dialer = Dialer(5)
        await asyncio.gather(*(dial(server.port, "name", dialer=dialer) for _ in range(9)))
        await dial(server.port, "name", dialer=dialer)
    assert resolver.asked == 1


async def test_a_name_is_asked_for_again_when_its_addresses_are_old(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "RESOLVED", 0.0)
    resolver.answers = [["127.0.0.2"], [HOST]]
    async with serving(deaf) as server:
        dialer = Dialer(5)
        with pytest.raises(Unconnected):
            await dial(server.port, "name", dialer=dialer)
        assert await dial(server.port, "name", dialer=dialer) == server.port


async def test_a_name_that_was_not_known_is_asked_for_again(resolver: Resolver) -> None:
    resolver.answers = [[], [HOST]]
    async with serving(deaf) as server:
        dialer = Dialer(5)
        for failed in await asyncio.gather(
            *(dial(server.port, "name", dialer=dialer) for _ in range(3)), return_exceptions=True
        ):
            assert str(failed) == "[Errno -2] Name or service not known"
        assert await dial(server.port, "name", dialer=dialer) == server.port


async def test_each_connection_goes_to_the_next_address(resolver: Resolver) -> None:
    resolver.answers = [[HOST, "127.0.0.2"]]
    dialer = Dialer(5)
    found = [(await dialer._resolve("name", 80))[0][4][0] for _ in range(3)]
    assert found == ["127.0.0.2", HOST, "127.0.0.2"]


async def test_giving_up_a_name_does_not_end_the_asking(resolver: Resolver) -> None:
    resolver.answers = [[HOST]]
    async with serving(deaf) as server:
        dialer = Dialer(5)
        first = asyncio.create_task(dial(server.port, "name", dialer=dialer))
        second = asyncio.create_task(dial(server.port, "name", dialer=dialer))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == server.port
        with pytest.raises(asyncio.CancelledError):
            await first
    assert resolver.asked == 1


# TLS.


@pytest.fixture
def trusting() -> Iterator[None]:
    """The certificates that are trusted are read again."""
    dialing._tls.cache_clear()
    yield
    dialing._tls.cache_clear()


@pytest.mark.usefixtures("trusting")
async def test_a_certificate_that_signs_itself_is_refused(tmp_path: Path) -> None:
    async with serving(deaf, certificate=_certificate(tmp_path)) as server:
        with pytest.raises(Unconnected, match="self-signed certificate") as caught:
            await dial(server.port, dialer=Dialer(5), tls=True)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.usefixtures("trusting")
async def test_a_certificate_that_is_trusted_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with serving(deaf, certificate=certificate) as server:
        assert await dial(server.port, dialer=Dialer(5), tls=True) == server.port


@pytest.mark.usefixtures("trusting")
async def test_a_certificate_for_another_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with serving(deaf, certificate=certificate) as server:
        with pytest.raises(Unconnected, match="Hostname mismatch"):
            await dial(server.port, "localhost", dialer=Dialer(5), tls=True)


async def test_a_server_that_speaks_no_tls_is_told() -> None:
    async def plain(visit: Visit) -> None:
        await visit.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(plain) as server:
        with pytest.raises(Unconnected, match="SSL"):
            await dial(server.port, dialer=Dialer(5), tls=True)
