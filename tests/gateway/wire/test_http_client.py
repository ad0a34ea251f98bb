"""Requests to servers that say exact bytes."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from multidict import CIMultiDict

from gateway.wire import dialing, http_client
from gateway.wire.connection import BrokenReply
from gateway.wire.dialing import Dialer, Unconnected
from gateway.wire.http_client import HttpClient, origin
from tests.gateway.wire.scripted import (
    CLOSING,
    OK,
    Script,
    Server,
    Visit,
    deaf,
    hanging_up_after,
    no_complaints,
    refusing,
    saying,
    serving,
    silent,
    turns,
)
from tests.nginx import _certificate
from tests.serving import until

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """One of which nothing is left afterwards."""
    async with no_complaints():
        async with HttpClient(Dialer(5)) as made:
            yield made
        await turns()
        assert made._open == set()


async def post(client: HttpClient, server: Server, **headers: str) -> bytes:
    return await (await client.send("POST", server.url, "/x", headers, b"{}")).read()


async def head(
    client: HttpClient,
    path: str = "",
    headers: Mapping[str, str] = CIMultiDict(),
    method: str = "POST",
) -> bytes:
    """The head of a request to an address with this path, its port written as PORT."""
    async with serving(saying(OK)) as server:
        await client.send(method, server.url + path, "/x", headers)
        return server.visits[0].requests[0].replace(b":%d" % server.port, b":PORT")


# What is sent.


async def test_a_request_says_little(client: HttpClient) -> None:
    assert await head(client, headers={"A": "b"}) == (
        b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nAccept: */*\r\n"
        b"Accept-Encoding: identity\r\nContent-Length: 0\r\nA: b\r\n\r\n"
    )


async def test_a_request_without_a_body_has_no_length(client: HttpClient) -> None:
    assert b"Content-Length" not in await head(client, method="GET")


@pytest.mark.parametrize("path", ["/prefix", "/prefix/"])
async def test_the_path_of_the_address_comes_first(client: HttpClient, path: str) -> None:
    assert (await head(client, path)).startswith(b"POST /prefix/x HTTP/1.1\r\n")


async def test_a_path_may_have_a_query(client: HttpClient) -> None:
    async with serving(saying(OK)) as server:
        await client.send("GET", server.url, "/x?y=%20", {})
        assert server.visits[0].requests[0].startswith(b"GET /x?y=%20 HTTP/1.1\r\n")


async def test_values_that_are_no_ascii_are_sent_as_they_came(client: HttpClient) -> None:
    raw = await head(client, headers={"A": "ä", "B": b"\xff".decode("utf-8", "surrogateescape")})
    assert b"\r\nA: \xc3\xa4\r\nB: \xff\r\n" in raw


async def test_a_header_may_come_more_than_once(client: HttpClient) -> None:
    assert b"\r\nA: b\r\nA: c\r\n" in await head(
        client, headers=CIMultiDict([("A", "b"), ("A", "c")])
    )


@pytest.mark.parametrize("name", ["Host", "ACCEPT", "accept-encoding"])
async def test_a_header_of_the_request_replaces_ours(client: HttpClient, name: str) -> None:
    raw = (await head(client, headers={name: "other"})).lower()
    assert raw.count(b"\r\n%b: " % name.lower().encode()) == 1
    assert b"\r\n%b: other\r\n" % name.lower().encode() in raw


@pytest.mark.parametrize(
    "headers",
    [{"A": text} for text in ("b\r\nC: d", "b\n", "b\r", "b\0")]
    + [{text: "b"} for text in ("A\r\nC", "A\n", "A\r", "A\0")],
)
async def test_a_header_that_says_more_than_itself_is_not_sent(
    client: HttpClient, headers: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=r"^a header holds what no header can$"):
        await client.send("GET", "http://127.0.0.1:1", "/", headers)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
async def test_a_header_says_nothing_of_the_length(client: HttpClient, name: str) -> None:
    with pytest.raises(ValueError, match=r"^the length of a body is not for a header to say$"):
        await client.send("GET", "http://127.0.0.1:1", "/", {name: "1"})


@pytest.mark.parametrize("path", ["/a b", "/a\r\nB: c", "/a\n", "/\0", "/ä"])
async def test_a_path_that_says_more_than_itself_is_not_sent(client: HttpClient, path: str) -> None:
    with pytest.raises(ValueError, match=r"^the path holds what no path can$"):
        await client.send("GET", "http://127.0.0.1:1", path, {})


# Addresses.


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "http://", "http://host:0", "/path", ""])
def test_an_address_of_something_else_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"^it is no http or https address$"):
        origin(url)


def test_an_address_without_a_port_has_that_of_its_scheme() -> None:
    assert (origin("http://h").port, origin("https://h").port) == (80, 443)


def test_a_name_that_is_no_ascii_is_sent_as_what_dns_calls_it() -> None:
    assert origin("http://bücher.example").host == "xn--bcher-kva.example"


def test_a_user_is_not_shown() -> None:
    shown = repr(origin("http://user:secret@host"))
    assert "secret" not in shown
    assert "Basic" not in shown


async def test_a_user_in_the_address_is_sent_as_such(client: HttpClient) -> None:
    async with serving(saying(OK)) as server:
        url = server.url.replace("://", "://me:p%40ss@")
        await client.send("GET", url, "/", {})
        sent = server.visits[0].requests[0]
    assert b"\r\nAuthorization: Basic bWU6cEBzcw==\r\n" in sent
    assert b"\r\nHost: 127.0.0.1:" in sent


async def test_an_address_of_version_6_is_called_with_its_brackets(client: HttpClient) -> None:
    async with serving(saying(OK), host="::1") as server:
        assert await post(client, server) == b"ok"
        assert b"\r\nHost: [::1]:" in server.visits[0].requests[0]


async def test_a_server_is_reached_with_tls(
    client: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    dialing._tls.cache_clear()
    async with serving(saying(OK, OK, CLOSING), saying(HALF), certificate=certificate) as server:
        assert [await post(client, server) for _ in range(3)] == [b"ok"] * 3
        assert len(server.visits) == 1
        (await client.send("GET", server.url, "/", {})).close()
        await server.visits[1].over.wait()
    dialing._tls.cache_clear()


# Connections that are kept.


async def test_a_connection_is_used_again(client: HttpClient) -> None:
    async with serving(saying(OK, OK, OK)) as server:
        assert [await post(client, server) for _ in range(3)] == [b"ok"] * 3
        assert len(server.visits) == 1


async def test_requests_at_the_same_time_have_their_own_connections(client: HttpClient) -> None:
    async with serving(saying(OK, OK)) as server:
        for _ in range(2):
            await asyncio.gather(*(post(client, server) for _ in range(3)))
        assert len(server.visits) == 3


async def test_a_reply_that_is_not_read_does_not_keep_its_connection(client: HttpClient) -> None:
    async with serving(saying(OK, OK)) as server:
        await client.send("POST", server.url, "/", {})
        await post(client, server)
        assert len(server.visits) == 1


async def test_another_user_of_the_same_server_has_another_connection(client: HttpClient) -> None:
    async with serving(saying(OK)) as server:
        for url in (server.url, server.url.replace("://", "://me@")):
            await client.send("GET", url, "/", {})
        assert len(server.visits) == 2


async def test_a_connection_that_its_server_closes_is_not_used_again(client: HttpClient) -> None:
    async with serving(saying(CLOSING)) as server:
        assert [await post(client, server) for _ in range(3)] == [b"ok"] * 3
        assert len(server.visits) == 3


async def test_a_connection_that_was_closed_while_it_was_idle_is_passed_over(
    client: HttpClient,
) -> None:
    async with serving(hanging_up_after(OK), saying(OK)) as server:
        await post(client, server)
        await until(lambda: not client._open)
        await post(client, server)
        assert len(server.visits) == 2


async def test_connections_that_close_when_they_are_asked_are_passed_over(
    client: HttpClient,
) -> None:
    async def stale(visit: Visit) -> None:
        await visit.answer(OK)
        await visit.request()

    async with serving(stale, stale, stale, saying(OK)) as server:
        await asyncio.gather(*(post(client, server) for _ in range(3)))
        assert await post(client, server) == b"ok"
        assert len(server.visits) == 4


async def test_a_fresh_connection_that_closes_is_not_passed_over(client: HttpClient) -> None:
    async with serving(refusing) as server:
        with pytest.raises(ConnectionResetError, match=r"^the connection was closed$"):
            await post(client, server)
        assert len(server.visits) == 1


async def test_a_connection_that_closes_late_had_begun_to_be_answered(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "STALE", 0.0)

    async def late(visit: Visit) -> None:
        await visit.answer(OK)
        await visit.request()

    async with serving(late) as server:
        await post(client, server)
        with pytest.raises(ConnectionResetError, match=r"^the connection was closed$"):
            await post(client, server)
        assert len(server.visits) == 1


async def test_a_connection_that_breaks_in_its_reply_is_not_passed_over(
    client: HttpClient,
) -> None:
    async with serving(hanging_up_after(OK, b"HTTP/1.1 200")) as server:
        await post(client, server)
        with pytest.raises(BrokenReply, match=r"^the connection was closed$"):
            await post(client, server)
        assert len(server.visits) == 1


async def test_a_connection_is_closed_when_it_is_idle_for_too_long(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "IDLE", 0.01)
    async with serving(saying(OK, OK)) as server:
        await asyncio.gather(post(client, server), post(client, server))
        for visit in server.visits:
            await visit.over.wait()
    await until(lambda: client._sweeping is None)
    assert client._idle == {}


async def test_a_connection_that_is_idle_for_too_long_is_not_used(client: HttpClient) -> None:
    async with serving(saying(OK, OK)) as server:
        await post(client, server)
        [connection] = client._open
        connection.idle_since -= http_client.IDLE
        await post(client, server)
        await server.visits[0].over.wait()
        assert len(server.visits) == 2


async def test_the_connection_that_was_used_last_is_used_first(client: HttpClient) -> None:
    async with serving(saying(OK, OK), saying(OK)) as server:
        first, second = [await client.send("GET", server.url, "/", {}) for _ in range(2)]
        assert (first.status, second.status, len(server.visits)) == (200, 200, 1)


# Ends.


@pytest.mark.parametrize("script", [silent, deaf, saying(HALF)])
async def test_leaving_the_client_closes_what_is_open(client: HttpClient, script: Script) -> None:
    async with serving(script) as server:
        task = asyncio.create_task(post(client, server))
        await until(lambda: bool(client._open))
        await client.__aexit__()
        with pytest.raises(OSError, match=r"^the connection was closed$"):
            await task
        await server.visits[0].over.wait()


async def test_leaving_the_client_closes_what_is_idle(client: HttpClient) -> None:
    async with serving(saying(OK)) as server:
        await post(client, server)
        await client.__aexit__()
        await server.visits[0].over.wait()


async def test_leaving_the_client_ends_what_is_about_to_connect(client: HttpClient) -> None:
    async with serving(deaf) as server:
        task = asyncio.create_task(post(client, server))
        await asyncio.sleep(0)
        await client.__aexit__()
        with pytest.raises(Unconnected, match=r"^the client was closed$"):
            await task


async def test_a_request_that_breaks_as_the_client_is_left_is_not_sent_again(
    client: HttpClient,
) -> None:
    async def stale(visit: Visit) -> None:
        await visit.answer(OK)
        await visit.request()
        await visit.left()

    async with serving(stale) as server:
        await post(client, server)
        task = asyncio.create_task(post(client, server))
        await until(lambda: len(server.visits[0].requests) == 2)
        await client.__aexit__()
        with pytest.raises(Unconnected, match=r"^the client was closed$"):
            await task


@pytest.mark.parametrize("script", [silent, saying(HALF)], ids=["before", "in mid-body"])
async def test_cancelling_a_request_ends_it_on_the_server(
    client: HttpClient, script: Script
) -> None:
    async with serving(script) as server:

        async def ask() -> None:
            response = await client.send("POST", server.url, "/", {}, b"{}")
            try:
                await response.read()
            finally:
                response.close()

        task = asyncio.create_task(ask())
        await until(lambda: bool(server.visits and server.visits[0].requests))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.visits[0].over.wait()


async def test_cancelling_a_connection_that_is_being_made_leaves_nothing(
    client: HttpClient,
) -> None:
    async with serving(deaf) as server:
        for wait in range(6):
            task = asyncio.create_task(post(client, server))
            for _ in range(wait):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await turns()
        assert client._open == set()


# Each gets what it asked for.


def framed(body: bytes, rng: random.Random) -> list[bytes]:
    """A reply of one kind or another, in pieces."""
    lines = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    said = rng.choice(
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%bX-T: a\r\n\r\n" % lines,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (len(body), body),
        )
    )
    cut = rng.randrange(1, len(said))
    return [said[:cut], said[cut:]] if rng.random() < 0.5 else [said]


@pytest.mark.parametrize("seed", range(3))
async def test_each_request_gets_its_own_answer(client: HttpClient, seed: int) -> None:
    rng = random.Random(seed)

    async def echo(visit: Visit) -> None:
        with suppress(ConnectionError):
            while rng.random() < 0.9:
                path = (await visit.request()).split()[1]
                for piece in framed(path, rng):
                    await visit.say(piece)
                    await asyncio.sleep(0)

    async def ask(number: int) -> None:
        path = f"/{number}"
        try:
            async with asyncio.timeout(rng.choice((None, None, 0, 0.001))):
                response = await client.send("POST", server.url, path, {}, bytes(number))
                if rng.random() < 0.2:
                    return response.close()
                assert await response.read() == path.encode()
        except (TimeoutError, ConnectionError, BrokenReply, Unconnected):
            pass

    async with serving(echo) as server:
        for start in range(0, 400, 40):
            await asyncio.gather(*(ask(start + number) for number in range(40)))
        idle = {c for connections in client._idle.values() for c in connections if not c.closed}
        await until(lambda: {c for c in client._open if not c.closed} <= idle)
