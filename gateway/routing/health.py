"""Looks at the replicas of a pool, for ever."""

import asyncio
import logging
from contextlib import suppress

from attrs import define, field

from gateway.core import Once
from gateway.errors import ConfigError, GatewayError, Overloaded, UpstreamUnreachable
from gateway.routing.inspection import Card, differences, faults, inspect, look
from gateway.routing.member import Member
from gateway.routing.replicas import Replicas
from gateway.upstream.connections import Upstream

logger = logging.getLogger(__name__)

SOON = 0.1
"""Seconds between two looks at a replica whose calls break."""


@define(eq=False)
class Health:
    """
    Asks each replica for its health, none of them waiting for another's answer.

    One that is down is also asked what it serves; that is where the engine's name of the model
    comes from if the configuration does not say it.
    """

    replicas: Replicas
    upstream: Upstream
    every: float
    """Seconds."""
    timeout: float
    """Seconds."""
    _once: Once = field(factory=lambda: Once(logger), init=False)

    async def watch(self) -> None:
        """Until cancelled; raises ConfigError where several models could be meant."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self.replicas.to_look_at.clear()
                wait = self._look_at_all(tasks)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self.replicas.to_look_at.wait()

    def _look_at_all(self, tasks: asyncio.TaskGroup) -> float:
        """Look at those whose time it is; returns the seconds until it is the next one's."""
        now, wait = asyncio.get_running_loop().time(), self.every
        for member in self.replicas:
            if member.looked_at or member.replica.down is not None:
                continue
            if self._due(member) <= now:
                member.looked_at = True
                tasks.create_task(self._look(member))
            else:
                wait = min(wait, self._due(member) - now)
        return wait

    def _due(self, member: Member) -> float:
        early = max(0.0, self.every - SOON) if member.suspect else 0.0
        return member.due - early

    async def _look(self, member: Member) -> None:
        member.suspect = False
        try:
            await self._ask(member)
        finally:
            member.looked.set()
            member.looked_at = False
            member.due = asyncio.get_running_loop().time() + self.every
            self.replicas.to_look_at.set()

    async def _ask(self, member: Member) -> None:
        before = member.signs_of_life()
        try:
            async with asyncio.timeout(self.timeout):
                await look(self.upstream, member.replica)
                card = member.card or await inspect(self.upstream, member.replica)
        except UpstreamUnreachable as error:
            self.replicas.missed(member, error.message, certain=error.refused)
        except Overloaded:
            return  # it is the gateway that has no descriptors left
        except GatewayError as error:
            self.replicas.missed(member, error.message)
        except TimeoutError:
            if member.signs_of_life() == before:
                self.replicas.missed(member, f"no answer within {self.timeout:g} s")
        else:
            self._found(member, card)

    def _found(self, member: Member, card: Card) -> None:
        replicas, new = self.replicas, not member.up
        replicas.model = replicas.model or self._only_model(card)
        if replicas.model is None:
            why = f"/v1/models ({card.status}) does not say the model; set it"
            replicas.missed(member, why)
            return
        replicas.found_up(member, card)
        if new:
            found = [*faults(member.name, card, replicas.model)]
            for fault in [*found, *differences(replicas.cards, replicas.model)]:
                self._once(fault, "model %s: %s", replicas.name, fault)

    def _only_model(self, card: Card) -> str | None:
        if len(card.models) > 1:
            served = ", ".join(card.names)
            raise ConfigError(
                f"set the model, since the replica serves {served} @ {self.replicas.name}.model"
            )
        return card.names[0] if card.models else None
