"""The keys of the configuration."""

import ast
import inspect
import os
from itertools import pairwise

import pytest
from attrs import fields

from gateway.config import Config, Health, Limits, Listen, Model, Sessions, keys

SELF_EXPLAINING = {"host", "port", "cookie", "models", "listen", "sessions", "limits"} | {
    "health",
    "replace_developer_role_with_system",
}


@pytest.mark.parametrize("cls", [Config, Health, Limits, Listen, Model, Sessions])
def test_every_key_is_documented_where_it_is_declared(cls: type) -> None:
    [body] = [
        node.body
        for node in ast.parse(inspect.getsource(keys)).body
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    ]
    documented = {
        key.target.id
        for key, text in pairwise(body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    names = {key.name for key in fields(cls)}
    assert names - documented <= SELF_EXPLAINING


def test_secrets_are_not_in_the_repr() -> None:
    model = Model(base_url=("http://a",), api_key="hush", default_headers={"X-Key": "hush"})
    assert "hush" not in repr(Config({"policy": model}, sessions=Sessions(secret="hush")))


def test_auto_is_a_worker_for_each_core_that_the_gateway_may_use() -> None:
    assert Config({}, workers="auto").worker_count == len(os.sched_getaffinity(0))


def test_workers_are_as_many_as_it_says() -> None:
    assert (Config({}).worker_count, Config({}, workers=3).worker_count) == (1, 3)
