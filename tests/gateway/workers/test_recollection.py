"""Which worker knows a call that another one is asked to repeat."""

import asyncio

from attrs import define, field

from gateway.workers import messages
from gateway.workers.recollection import Recollection
from tests.serving import until


@define(eq=False)
class Worker:
    """What it is told."""

    path: str
    told: list[messages.Message] = field(factory=list)

    def send(self, message: messages.Message) -> None:
        self.told.append(message)


def seek(number: int = 1, session: str = "s") -> messages.Seek:
    return messages.Seek(number, session, "/v1/chat/completions", "digest", None, True)


def recalled(worker: Worker) -> list[int]:
    return [one.number for one in worker.told if isinstance(one, messages.Recall)]


async def test_all_but_the_one_that_seeks_are_asked() -> None:
    crew = [Worker("a"), Worker("b"), Worker("c")]
    made = Recollection(lambda: crew)
    seeking = asyncio.create_task(made.seek(crew[0], seek()))
    await until(lambda: all(recalled(worker) for worker in crew[1:]))
    made.hear(messages.Familiar(recalled(crew[1])[0], 1))
    made.hear(messages.Familiar(recalled(crew[2])[0], 2))
    await seeking
    assert crew[0].told == [messages.Known(1, 2, "c")]


async def test_nobody_knows_it_where_there_is_nobody_else() -> None:
    alone = Worker("a")
    await Recollection(lambda: [alone]).seek(alone, seek())
    assert alone.told == [messages.Known(1, 0, "")]


async def test_a_worker_that_is_gone_knows_nothing() -> None:
    crew = [Worker("a"), Worker("b")]
    made = Recollection(lambda: crew)
    seeking = asyncio.create_task(made.seek(crew[0], seek()))
    await until(lambda: bool(recalled(crew[1])))
    made.lose(crew[1])
    await seeking
    assert crew[0].told == [messages.Known(1, 0, "b")]


async def test_of_one_session_one_is_sought_after_the_other() -> None:
    crew = [Worker("a"), Worker("b")]
    made = Recollection(lambda: crew)
    first = asyncio.create_task(made.seek(crew[0], seek(1)))
    second = asyncio.create_task(made.seek(crew[1], seek(2)))
    other = asyncio.create_task(made.seek(crew[1], seek(3, "t")))
    await until(lambda: bool(recalled(crew[1]) and recalled(crew[0])))
    assert len(recalled(crew[0])) == 1
    made.hear(messages.Familiar(recalled(crew[1])[0], 0))
    await first
    await until(lambda: len(recalled(crew[0])) == 2)
    for number in recalled(crew[0]):
        made.hear(messages.Familiar(number, 1))
    await asyncio.gather(second, other)
    assert crew[0].told[1] == messages.Known(1, 0, "b")
    assert messages.Known(2, 1, "a") in crew[1].told


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    Recollection(list).hear(messages.Familiar(7, 1))
