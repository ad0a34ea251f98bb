"""Parts of what an input item holds; numbers are those of the behaviour checklist."""

import pytest

from gateway.core import Json
from gateway.dialects.responses import Responses
from gateway.errors import BadRequest


def part(given: Json) -> Json:
    """The part as a message of the user has it in the chat API."""
    item = {"role": "user", "content": [given]}
    [converted] = Responses().parse({"input": [item]})["messages"][0]["content"]
    assert isinstance(converted, dict)
    return converted


def refusal(given: Json) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as caught:
        part(given)
    return caught.value.message, caught.value.param


@pytest.mark.parametrize("kind", ["input_text", "output_text", "text"])
def test_text(kind: str) -> None:
    assert part({"type": kind, "text": "x"}) == {"type": "text", "text": "x"}


@pytest.mark.parametrize("url", ["data:,", {"url": "data:,"}])
@pytest.mark.parametrize(("detail", "sent"), [({}, "auto"), ({"detail": "low"}, "low")])
def test_an_image_has_a_url_and_a_detail(url: str | Json, detail: Json, sent: str) -> None:
    """43."""
    assert part({"type": "input_image", "image_url": url, **detail}) == {
        "type": "image_url",
        "image_url": {"url": "data:,", "detail": sent},
    }


@pytest.mark.parametrize("source", [{}, {"image_url": ""}, {"image_url": {}}, {"file_id": "f"}])
def test_an_image_without_a_url_is_refused(source: Json) -> None:
    """43."""
    where = "input[0].content[0].image_url"
    assert refusal({"type": "input_image", **source}) == (f"{where} must be a URL", where)


@pytest.mark.parametrize("key", ["video_url", "video"])
@pytest.mark.parametrize("url", ["data:,", {"url": "data:,"}])
def test_a_video_has_a_url_under_either_name(key: str, url: str | Json) -> None:
    """44."""
    assert part({"type": "input_video", key: url}) == {
        "type": "video_url",
        "video_url": {"url": "data:,"},
    }


@pytest.mark.parametrize("source", [{}, {"video_url": "a", "video": "b"}, {"video": 5}])
def test_a_video_with_both_sources_or_neither_is_refused(source: Json) -> None:
    """44."""
    assert refusal({"type": "input_video", **source}) == (
        "input[0].content[0] must have one of video_url and video, a URL",
        "input[0].content[0]",
    )


def test_audio_is_carried() -> None:
    audio = {"data": "AA==", "format": "wav"}
    given = {"type": "input_audio", "input_audio": audio}
    assert part(given) == given


def test_audio_without_data_is_refused() -> None:
    where = "input[0].content[0].input_audio"
    assert refusal({"type": "input_audio"}) == (f"{where} must be an object", where)


@pytest.mark.parametrize("kind", ["input_file", "refusal", "made_up"])
def test_other_parts_are_refused_by_their_type(kind: str) -> None:
    """45."""
    assert refusal({"type": kind, "file_id": "f"}) == (
        f"input[0].content[0] is of type '{kind}', which is not supported",
        "input[0].content[0].type",
    )


def test_the_model_said_no_images() -> None:
    item = {"role": "assistant", "content": [{"type": "input_image", "image_url": "data:,"}]}
    with pytest.raises(BadRequest, match="is of type 'input_image', which is not supported"):
        Responses().parse({"input": [item]})
