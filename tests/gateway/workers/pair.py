"""A worker's dispatch and the desk that answers it, over a pair of sockets in one process."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field

from gateway.config import Config, Limits, Model
from gateway.gateway import Gateway
from gateway.routing.replicas import Replicas
from gateway.workers import messages
from gateway.workers.channel import Channel
from gateway.workers.desk import Desk
from gateway.workers.link import Link
from gateway.workers.messages import Message
from gateway.workers.remote_dispatch import RemoteDispatch
from gateway.workers.views import view
from tests.gateway.routing.members import CARD, replica
from tests.serving import until


@define(eq=False)
class Pair:
    """Both ends."""

    gateway: Gateway
    """The supervisor's, which nobody starts."""
    desk: Desk
    link: Link
    dispatch: RemoteDispatch
    said: list[Message] = field(factory=list)
    """By the worker."""
    answered: list[Message] = field(factory=list)
    """By the supervisor, but for views."""

    @property
    def replicas(self) -> Replicas:
        return self.gateway.catalog.models["policy"].pool.replicas

    async def told(self, kind: type[Message], number: int = 1) -> None:
        """Wait until the supervisor has been told so many of these."""
        await until(lambda: sum(isinstance(one, kind) for one in self.said) == number)

    def show(self) -> None:
        """Tell the worker how the replicas are."""
        self.link.views["policy"] = view(self.replicas)


def _hear(link: Link, message: Message) -> None:
    if isinstance(message, messages.BreakOff):
        link.break_off(message)
    else:
        link.hear(message)


@asynccontextmanager
async def pair(*names: str, limit: int | None = None, up: bool = True) -> AsyncIterator[Pair]:
    """The replicas of these names, and what the worker was told of them."""
    model = Model(base_url=("http://127.0.0.1:9",), model="m")
    gateway = Gateway.of(Config({"policy": model}, limits=Limits(max_in_flight=limit)))
    link = Link()
    its, ours = socket.socketpair()

    def hear(message: Message) -> None:
        made.said.append(message)
        made.desk.hear(message)

    def answer(message: Message) -> None:
        made.answered.append(message)
        _hear(link, message)

    link.channel = await Channel.over(its, messages.FromSupervisor, answer, lambda: None)
    end = await Channel.over(ours, messages.FromWorker, hear, lambda: None)
    dispatch = RemoteDispatch("policy", "policy", link)
    made = Pair(gateway, Desk(gateway, "/nowhere", end.send), link, dispatch)
    made.replicas.update([replica(name) for name in names])
    if up:
        for member in made.replicas:
            made.replicas.found_up(member, CARD)
    made.show()
    try:
        yield made
    finally:
        made.desk.close()
        link.channel.close()
        end.close()
