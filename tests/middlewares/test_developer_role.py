"""The developer role, for chat templates that do not know it."""

from middlewares.developer_role import DeveloperRole
from tests.calls import call, sent

DEVELOPER = {"role": "developer", "content": "Be brief.", "name": "d"}
SYSTEM = {"role": "system", "content": "You are Ann."}
USER = {"role": "user", "content": "Hello"}


async def test_developer_becomes_system_and_nothing_else_of_the_message_changes() -> None:
    body = await sent(DeveloperRole(), call(DEVELOPER, USER))
    assert body["messages"] == [{**DEVELOPER, "role": "system"}, USER]


async def test_every_message_keeps_its_place_and_none_are_merged() -> None:
    body = await sent(DeveloperRole(), call(SYSTEM, DEVELOPER, USER, DEVELOPER))
    assert [m["role"] for m in body["messages"]] == ["system", "system", "user", "system"]


async def test_a_conversation_without_that_role_is_the_same_list() -> None:
    a_call = call(SYSTEM, USER)
    assert (await sent(DeveloperRole(), a_call))["messages"] is a_call.body["messages"]


async def test_another_role_may_take_its_place() -> None:
    body = await sent(DeveloperRole("user"), call(DEVELOPER))
    assert body["messages"][0]["role"] == "user"


async def test_the_callers_messages_stay_as_they_are() -> None:
    a_call = call(DEVELOPER)
    await sent(DeveloperRole(), a_call)
    assert a_call.body["messages"] == [DEVELOPER]
