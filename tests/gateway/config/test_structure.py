"""Strict structure: exact types, exact messages, all faults at once."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
from attrs import field, frozen
from attrs.validators import ge, in_, min_len

from gateway.config.structure import below, structure_options, unknown_key
from gateway.errors import ConfigError


@frozen
class Inner:
    size: int = 1


@frozen
class Options:
    flag: bool = False
    count: int = 0
    share: float = 0.5
    name: str = "n"
    maybe: str | None = None
    either: str | Mapping[str, Any] | None = None
    names: tuple[str, ...] = ()
    shares: list[float] = field(factory=list)
    rows: Sequence[Inner] = ()
    by_name: Mapping[str, int] = field(factory=dict)
    mode: Literal["a", "b", 3] = "a"
    inner: Inner = Inner()
    anything: Any = None
    whatever: object = None


def faults(options: Any, path: str = "", cls: type = Options) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        structure_options(cls, options, path)
    return raised.value.faults


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"flag": "no"}, "expected bool, got 'no' @ flag"),
        ({"flag": 1}, "expected bool, got 1 @ flag"),
        ({"count": "7"}, "expected int, got '7' @ count"),
        ({"count": True}, "expected int, got True @ count"),
        ({"count": 7.0}, "expected int, got 7.0 @ count"),
        ({"share": True}, "expected number, got True @ share"),
        ({"share": "0.5"}, "expected number, got '0.5' @ share"),
        ({"name": 7}, "expected str, got 7 @ name"),
        ({"maybe": 7}, "expected str, got 7 @ maybe"),
        ({"either": 7}, "expected str or mapping, got 7 @ either"),
        ({"names": "abc"}, "expected list, got 'abc' @ names"),
        ({"names": {"a": 1}}, "expected list, got {'a': 1} @ names"),
        ({"names": ["a", 7]}, "expected str, got 7 @ names[1]"),
        ({"shares": [1, "2"]}, "expected number, got '2' @ shares[1]"),
        ({"rows": [{}, {"size": "x"}]}, "expected int, got 'x' @ rows[1].size"),
        ({"by_name": ["a"]}, "expected mapping, got ['a'] @ by_name"),
        ({"by_name": {"a": "x"}}, "expected int, got 'x' @ by_name.a"),
        ({"by_name": {"a": None}}, "expected int, got None @ by_name.a"),
        ({"mode": "c"}, "expected 'a' or 'b' or 3, got 'c' @ mode"),
        ({"mode": 3.0}, "expected 'a' or 'b' or 3, got 3.0 @ mode"),
        ({"mode": ["a"]}, "expected 'a' or 'b' or 3, got ['a'] @ mode"),
        ({"inner": 7}, "expected mapping, got 7 @ inner"),
        ({"inner": {"size": None, "sice": 2}}, "unknown key 'sice', did you mean 'size'? @ inner"),
        ({"falg": True}, "unknown key 'falg', did you mean 'flag'? @ top level"),
        ({"zzz": True}, "unknown key 'zzz' @ top level"),
        ({7: True}, "unknown key 7 @ top level"),
        ([], "expected mapping, got [] @ top level"),
        (None, "expected mapping, got None @ top level"),
    ],
)
def test_nothing_is_coerced(options: Any, fault: str) -> None:
    assert faults(options) == [fault]


def test_what_fits_is_taken() -> None:
    given = {
        "flag": True,
        "count": 7,
        "share": 1,
        "maybe": "m",
        "either": {"a": None},
        "names": ["a", "b"],
        "shares": (1, 0.5),
        "rows": [{"size": 2}],
        "by_name": {"a": 1},
        "mode": 3,
        "inner": {"size": 2},
        "anything": [1, {"a": None}],
        "whatever": {"a": 1},
    }
    assert structure_options(Options, given) == Options(
        flag=True,
        count=7,
        share=1,
        maybe="m",
        either={"a": None},
        names=("a", "b"),
        shares=[1, 0.5],
        rows=(Inner(2),),
        by_name={"a": 1},
        mode=3,
        inner=Inner(2),
        anything=[1, {"a": None}],
        whatever={"a": 1},
    )


def test_null_means_the_default() -> None:
    assert structure_options(Options, dict.fromkeys(["flag", "names", "inner"])) == Options()


def test_all_faults_come_at_once_below_the_given_path() -> None:
    assert faults({"flag": "no", "cuont": 1, "inner": {"size": []}}, "models.policy") == [
        "expected bool, got 'no' @ models.policy.flag",
        "expected int, got [] @ models.policy.inner.size",
        "unknown key 'cuont', did you mean 'count'? @ models.policy",
    ]


def test_a_key_without_default_is_required() -> None:
    @frozen
    class Needs:
        name: str

    assert faults({"name": None}, "m", Needs) == ["required @ m.name"]


def test_a_validator_speaks_with_the_path_of_its_field() -> None:
    @frozen
    class Checked:
        size: int = field(default=1, validator=ge(1))
        mode: str = field(default="a", validator=in_(["a"]))

    assert faults({"size": 0, "mode": "b"}, "m", Checked) == [
        "'size' must be >= 1: 0 @ m.size",
        "'mode' must be in ['a'] (got 'b') @ m.mode",
    ]


def test_a_fault_of_the_whole_class_has_the_path_of_the_class() -> None:
    @frozen
    class Pair:
        low: int = 0
        high: int = 0

        def __attrs_post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    assert faults({"low": 2}, "m", Pair) == ["low is above high @ m"]


def test_a_secret_is_never_quoted() -> None:
    @frozen
    class Secretive:
        key: str | None = field(default=None, metadata={"secret": True})
        keys: Mapping[str, str] = field(factory=dict, metadata={"secret": True})

    assert faults({"key": 12345, "keys": {"a": 67890}}, "m", Secretive) == [
        "expected str, got int @ m.key",
        "expected str, got int @ m.keys.a",
    ]


def test_a_unit_reads_what_people_write() -> None:
    @frozen
    class Measured:
        wait: float = field(default=0.0, metadata={"unit": "seconds"})
        body: int = field(default=0, metadata={"unit": "bytes"})
        urls: tuple[str, ...] = field(default=(), metadata={"unit": "url"}, validator=min_len(1))

    given = {"wait": "2m", "body": "1KiB", "urls": "http://a/v1"}
    assert structure_options(Measured, given) == Measured(120.0, 1024, ("http://a",))
    assert faults({"wait": [], "urls": ["http://a", "b"]}, "m", Measured) == [
        "expected seconds or a duration such as '24h', got [] @ m.wait",
        "expected an http or https URL with a host, got 'b' @ m.urls[1]",
    ]
    assert faults({"urls": 7}, "m", Measured) == ["expected list, got 7 @ m.urls"]


def test_a_field_that_no_yaml_can_fill_is_named() -> None:
    @frozen
    class Odd:
        when: complex = 0j

    fault = "Unsupported type: <class 'complex'>. Register a structure hook for it. @ m"
    assert faults({"when": 1}, "m", Odd) == [fault]


def test_paths_grow_by_keys_and_indices() -> None:
    assert below(below(below("", "a"), "b"), 0) == "a.b[0]"


def test_an_unknown_key_suggests_the_nearest_known_one() -> None:
    fault = "unknown key 'modle', did you mean 'model'? @ models.policy"
    assert unknown_key("modle", ["model", "api_key"], "models.policy") == fault
