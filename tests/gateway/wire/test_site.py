"""What a connection of a client needs."""

from gateway.wire.site import Responder, Site
from tests.gateway.wire.calling import called, echo


async def test_a_server_and_whoever_answers_are_all_that_it_needs() -> None:
    async with called(echo, longest_body=7) as (desk, caller):
        site: Site = desk.server
        await caller.say(b"GET / HTTP/1.1\r\n\r\n")
        answering: Responder = await desk.turn()
    assert (site.longest_body, site.draining, answering) == (7, False, desk.turns[0])
