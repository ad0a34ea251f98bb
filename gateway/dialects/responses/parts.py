"""Parts of what an input item holds, as those of a chat message."""

from collections.abc import Callable, Iterator

from gateway.core import Json
from gateway.errors import BadRequest

TEXTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text")
Content = str | list[Json] | None


def users(content: Content, path: str) -> str | list[Json]:
    """The content of a message that somebody else than the model wrote."""
    if isinstance(content, str):
        return content
    return [_part(part, at) for part, at in given(content, path)]


def outputs(output: Content, path: str, call: object) -> str | list[Json]:
    """What a tool returned; the chat API takes only text of it."""
    if isinstance(output, str):
        return output
    parts = list(given(output, path))
    kinds = {str(part.get("type")) for part, _ in parts if part.get("type") not in TEXTS}
    if kinds:
        message = (
            f"{path} of call {call!r} has parts of type {', '.join(sorted(kinds))}; "
            "a tool's output can only be text"
        )
        raise BadRequest(message, param=path)
    return [_text(part, at) for part, at in parts]


def said(content: Content, path: str) -> Iterator[tuple[str, str]]:
    """Kind (text or refusal) and text of what the model said."""
    if isinstance(content, str):
        yield "text", content
        return
    for part, at in given(content, path):
        if part.get("type") == "refusal":
            yield "refusal", string(part, "refusal", at)
        elif part.get("type") in TEXTS:
            yield "text", string(part, "text", at)
        else:
            raise unsupported(part, at)


def given(content: Content, path: str) -> Iterator[tuple[Json, str]]:
    """The parts, each with its path."""
    if not isinstance(content, list):
        raise BadRequest(f"{path} must be a string or an array", param=path)
    yield from ((part, f"{path}[{i}]") for i, part in enumerate(content))


def string(item: Json, key: str, path: str) -> str:
    """A field that is required, and a string."""
    value = item.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"{path}.{key} must be a string", param=f"{path}.{key}")
    return value


def unsupported(item: Json, path: str) -> BadRequest:
    """The error for an item or a part of a type that has no meaning here."""
    message = f"{path} is of type {item.get('type')!r}, which is not supported"
    return BadRequest(message, param=f"{path}.type")


def _part(part: Json, path: str) -> Json:
    convert = _PARTS.get(part.get("type") or "")
    if convert is None:
        raise unsupported(part, path)
    return convert(part, path)


def _text(part: Json, path: str) -> Json:
    return {"type": "text", "text": string(part, "text", path)}


def _image(part: Json, path: str) -> Json:
    url = _url(part.get("image_url"))
    if not url:
        raise BadRequest(f"{path}.image_url must be a URL", param=f"{path}.image_url")
    return {"type": "image_url", "image_url": {"url": url, "detail": part.get("detail") or "auto"}}


def _audio(part: Json, path: str) -> Json:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        raise BadRequest(f"{path}.input_audio must be an object", param=f"{path}.input_audio")
    return {"type": "input_audio", "input_audio": audio}


def _video(part: Json, path: str) -> Json:
    """The source has two names; a part with both could mean either."""
    urls = [_url(part[key]) for key in ("video_url", "video") if part.get(key)]
    if len(urls) != 1 or not urls[0]:
        raise BadRequest(f"{path} must have one of video_url and video, a URL", param=path)
    return {"type": "video_url", "video_url": {"url": urls[0]}}


def _url(source: object) -> str | None:
    """A URL may stand alone, or in an object as in the chat API."""
    url = source.get("url") if isinstance(source, dict) else source
    return url if isinstance(url, str) else None


_PARTS: dict[str, Callable[[Json, str], Json]] = {
    **dict.fromkeys(TEXTS, _text),
    "input_image": _image,
    "input_audio": _audio,
    "input_video": _video,
}
