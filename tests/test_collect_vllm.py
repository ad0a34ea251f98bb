"""Rollouts with real vLLM replicas of a tiny model, as a trainer would collect them."""

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import frozen

from gateway.core import Json
from tests.collect_process import Collected, collect, rollouts
from tests.gateway_process import gateway
from tests.tool_server import ToolServer
from tests.vllm_server import NEEDS_VLLM, VllmServer

pytestmark = NEEDS_VLLM

ROWS, REPEATS, STEPS = 3, 2, 2
LONG = "Answer in one word. " * 80
"""More than three blocks of the prefix cache on a CPU."""

CITY = {"type": "string", "maxLength": 12}
GET_WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": CITY},
        "required": ["city"],
        "additionalProperties": False,
    },
}
CONFIGURATION = """
listen: {{port: 0}}
models:
  policy:
    base_url: [{one}, {two}]
    model: tiny-reasoning
    return_token_id_information: true
    uses_reasoning_parser: true
    chat_template_kwargs: {{enable_thinking: false}}
"""


@frozen
class Run:
    """A run that has ended, and what it was made with."""

    done: Collected
    lines: list[Json]
    output: Path
    engine: VllmServer


def row(number: int) -> Json:
    return {
        "responses_create_params": {
            "input": [
                {"role": "system", "content": f"{number} {LONG}"},
                {"role": "user", "content": "What is the weather in Paris?"},
            ],
            "tools": [GET_WEATHER],
            "tool_choice": "required",
            "max_output_tokens": 150,
            "temperature": 1.0,
            "top_p": 1.0,
        },
        "city": number,
    }


@pytest.fixture(scope="module")
def run(
    reasoning_vllm: tuple[VllmServer, VllmServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    one, two = reasoning_vllm
    folder = tmp_path_factory.mktemp("collect")
    (folder / "models.yaml").write_text(CONFIGURATION.format(one=one.url, two=two.url))
    with gateway(str(folder / "models.yaml"), folder=folder) as served:
        rows, output = folder / "rows.jsonl", folder / "rollouts.jsonl"
        rows.write_text("".join(json.dumps(row(n)) + "\n" for n in range(ROWS)))
        done = asyncio.run(collected(served.url, rows, output))
        yield Run(done, rollouts(output), output, one)


async def collected(url: str, rows: Path, output: Path) -> Collected:
    options = {"repeats": REPEATS, "max-steps": STEPS, "url": url}
    async with ToolServer() as tools:
        return await collect(
            *("--input", str(rows), "--output", str(output), "--tools", tools.url, "--seed"),
            *(f"--{name}={value}" for name, value in options.items()),
        )


def sampled(line: Json) -> list[Json]:
    """The items that a trainer can train on."""
    return [item for item in line["response"]["output"] if item.get("generation_token_ids")]


def test_all_rollouts_are_there(run: Run) -> None:
    assert run.done.status == 0, run.done.log
    assert sorted((line["_ng_task_index"], line["_ng_rollout_index"]) for line in run.lines) == [
        (task, rollout) for task in range(ROWS) for rollout in range(REPEATS)
    ]


def test_every_rollout_has_two_turns_with_a_tool(run: Run) -> None:
    ours = [line["_gateway"] for line in run.lines]
    assert [len(told["turns"]) for told in ours] == [STEPS] * len(ours)
    assert [told["end"] for told in ours] == ["max_steps"] * len(ours)
    assert {tool["status"] for told in ours for tool in told["tools"]} == {200}


def test_every_turn_has_as_many_token_ids_as_the_engine_counted(run: Run) -> None:
    for line in run.lines:
        counted = [
            (len(i["prompt_token_ids"]), len(i["generation_token_ids"])) for i in sampled(line)
        ]
        turns = line["_gateway"]["turns"]
        assert counted == [(turn["input_tokens"], turn["output_tokens"]) for turn in turns]
        assert counted[0][0] + counted[1][0] == line["response"]["usage"]["input_tokens"]


def test_the_prompt_of_every_turn_is_what_the_engine_makes_of_its_messages(run: Run) -> None:
    for line in run.lines:
        for messages, item in zip(conversations(line), sampled(line), strict=True):
            asked = {
                "messages": messages,
                "tools": [chat_tool()],
                "chat_template_kwargs": {"enable_thinking": False},
            }
            assert item["prompt_token_ids"] == run.engine.post("/tokenize", asked)["tokens"]


def conversations(line: Json) -> Iterator[list[Json]]:
    """What each turn was asked, in the words of chat."""
    messages = list(line["responses_create_params"]["input"])
    for item in line["response"]["output"]:
        match item["type"]:
            case "function_call":
                yield [*messages]
                messages.append(said(item))
            case "function_call_output":
                told = {"tool_call_id": item["call_id"], "content": item["output"]}
                messages.append({"role": "tool", **told})


def said(call: Json) -> Json:
    function = {"name": call["name"], "arguments": call["arguments"]}
    calls = [{"id": call["call_id"], "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def chat_tool() -> Json:
    return {"type": "function", "function": {k: v for k, v in GET_WEATHER.items() if k != "type"}}


def test_what_was_sampled_is_the_call(run: Run) -> None:
    for item in (item for line in run.lines for item in sampled(line)):
        asked = {"tokens": item["generation_token_ids"]}
        text = run.engine.post("/detokenize", asked)["prompt"]
        call = json.loads(text.partition("<tool_call>")[2].partition("</tool_call>")[0])
        assert call == {"name": item["name"], "arguments": json.loads(item["arguments"])}


def test_a_turn_begins_with_all_earlier_tokens_or_the_line_says_where_not(run: Run) -> None:
    for line in run.lines:
        breaks = {(told["item"], told["at"]) for told in line["_gateway"].get("prefix_breaks", ())}
        assert breaks == set(broken(line))


def broken(line: Json) -> Iterator[tuple[int, int]]:
    output = line["response"]["output"]
    places = [place for place, item in enumerate(output) if item in sampled(line)]
    for before, after in pairwise(places):
        seen = output[before]["prompt_token_ids"] + output[before]["generation_token_ids"]
        prompt = output[after]["prompt_token_ids"]
        for at in [at for at, token in enumerate(seen) if prompt[at : at + 1] != [token]][:1]:
            yield after, at


def test_a_rollout_stays_on_its_replica_and_both_are_used(run: Run) -> None:
    used = [{turn["replica"] for turn in line["_gateway"]["turns"]} for line in run.lines]
    assert [len(replicas) for replicas in used] == [1] * len(used)
    assert len(set.union(*used)) == 2


def test_later_turns_are_cached(run: Run) -> None:
    cached = [line["_gateway"]["turns"][1]["cached_tokens"] for line in run.lines]
    assert min(cached) >= 256


def test_each_rollout_of_a_row_has_a_seed_of_its_own(run: Run) -> None:
    extra = [line["responses_create_params"]["metadata"]["extra_body"] for line in run.lines]
    assert sorted(extra) == sorted([f'{{"seed": {n}}}' for n in range(REPEATS)] * ROWS)


def test_the_table_and_the_picture_are_there(run: Run) -> None:
    assert f"rollouts in {run.output}" in run.done.out
    assert run.output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
