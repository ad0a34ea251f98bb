"""Supervisors and errands on other nodes; with a cluster see test_cluster.py."""

import pytest

from launchers.engines.node.errand import Errand
from launchers.engines.node.supervisor import Supervisor
from launchers.engines.remote import RemoteErrand, RemoteHost
from tests.launchers.engines.test_host import calls


@pytest.mark.parametrize(("far", "near"), [(RemoteHost, Supervisor), (RemoteErrand, Errand)])
def test_what_is_far_away_is_called_like_what_is_here(far: type, near: type) -> None:
    assert dict(calls(far)) == dict(calls(near)) != {}
