"""What vLLM refuses although the types are right, in its own words and order."""

from typing import Any

from gateway.core import Json
from launchers.simulation.refusal import refused

MOST_CHOICES = 128
MOST_LOGPROBS = 20


def check_fields(body: Json) -> None:
    """Raises BadRequest for fields that contradict each other."""
    if body.get("stream_options") is not None and not body.get("stream"):
        raise refused("Stream options can only be defined when `stream=True`.", "stream_options")
    if body.get("cache_salt") == "":
        raise refused(
            "Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt"
        )
    if body.get("stream") and body.get("prompt_logprobs"):
        raise refused("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")


def check_chat_fields(body: Json) -> None:
    """The same for chat alone."""
    check_fields(body)
    top = body.get("top_logprobs") or 0
    if top < 0:
        raise refused("`top_logprobs` must be a positive value.", "top_logprobs", top)
    if top and not body.get("logprobs"):
        raise refused("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    if body.get("chat_template") is not None:
        raise refused(
            "Chat template is passed with request, but --trust-request-chat-template is not set."
            " Refused request with untrusted chat template."
        )
    if body.get("continue_final_message") and body.get("add_generation_prompt"):
        raise refused(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        )
    _check_tools(body)


def _check_tools(body: Json) -> None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools == []:
        raise refused(
            "`tools` must not be an empty array."
            " Either provide at least one tool or omit the field entirely.",
            "tools",
        )
    if choice in (None, "none"):
        return
    if not tools:
        raise refused("When using `tool_choice`, `tools` must be set.", "tool_choice")
    if isinstance(choice, str) and choice not in ("auto", "required"):
        raise refused("Invalid value for `tool_choice`.", "tool_choice", choice)
    if isinstance(choice, dict) and named_tool(body) is None:
        raise refused(
            "The tool specified in `tool_choice` does not match any of the specified `tools`",
            "tool_choice",
        )


def named_tool(body: Json) -> Json | None:
    """The function of ``tools`` that ``tool_choice`` names."""
    name = body["tool_choice"]["function"]["name"]
    functions = (tool["function"] for tool in body["tools"])
    return next((function for function in functions if function["name"] == name), None)


def check_sampling(body: Json, asked: int | None, max_model_len: int) -> None:
    """Raises BadRequest for what cannot be sampled with; ``asked`` are the tokens asked for."""
    _check_temperature(body.get("temperature"))
    top_p = body.get("top_p")
    if top_p is not None and not 0 < top_p <= 1:
        raise refused(f"top_p must be in (0, 1], got {float(top_p)}.", "top_p", float(top_p))
    _check_count("n", body.get("n"), MOST_CHOICES)
    if "" in (stop_strings(body)):
        raise refused("stop cannot contain an empty string.")
    _check_tokens(asked, max_model_len)
    _check_logprobs(body)


def _check_temperature(temperature: float | None) -> None:
    if temperature is None or 0 <= temperature <= 2:
        return
    got = float(temperature)
    rule = "be non-negative" if got < 0 else "be in [0, 2]"
    raise refused(f"temperature must {rule}, got {got}.", "temperature", got)


def _check_count(name: str, count: int | None, most: int) -> None:
    if count is not None and count < 1:
        raise refused(f"{name} must be at least 1, got {count}.")
    if count is not None and count > most:
        raise refused(f"{name} must be at most {most}, got {count}.")


def _check_tokens(asked: int | None, max_model_len: int) -> None:
    if asked is None:
        return
    if asked > max_model_len:
        raise refused(
            f"max_tokens={asked} cannot be greater than max_model_len={max_model_len}."
            " Please request fewer output tokens.",
            "max_tokens",
            asked,
        )
    if asked < 1:
        raise refused(f"max_tokens must be at least 1, got {asked}.", "max_tokens", asked)


def _check_logprobs(body: Json) -> None:
    asked: Any = body.get("logprobs")
    most = (body.get("top_logprobs") or 0) if isinstance(asked, bool) else (asked or 0)
    if most > MOST_LOGPROBS:
        raise refused(
            f"Requested sample logprobs of {most}, which is greater than max allowed:"
            f" {MOST_LOGPROBS}",
            "logprobs",
            most,
        )
    if most < 0:
        raise refused(f"logprobs must be non-negative, got {most}.", "logprobs", most)


def stop_strings(body: Json) -> list[str]:
    """``stop``, which may be one string or many."""
    stop = body.get("stop") or []
    return [stop] if isinstance(stop, str) else stop


def room(prompt: int, max_model_len: int) -> int:
    """How many tokens fit after this prompt; raises BadRequest if it is too long itself."""
    if prompt < max_model_len:
        return max_model_len - prompt
    count = min(prompt, max_model_len + 1)
    raise refused(
        f"This model's maximum context length is {max_model_len} tokens. However, your prompt"
        f" contains {'at least ' * (prompt > max_model_len)}{count} input tokens, which exceeds"
        " this limit even without any output tokens. Please reduce the length of the input"
        " prompt.",
        "input_tokens",
        count,
    )
