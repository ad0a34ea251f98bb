"""What is printed."""

import pytest

from gateway.tryout.finding import Finding
from gateway.tryout.report import Report


def test_findings_are_lines_and_so_is_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report.without("http://host", None)
    report.tell(Finding("answer", "Sunny."), Finding("turn 2", "401 Unauthorized", "a key"))
    assert capsys.readouterr().out == (
        "  answer         Sunny.\n  turn 2         401 Unauthorized\n  what to do     a key\n"
    )


def test_secrets_that_the_address_repeats_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report.without("http://me:pass-1@host", "sk-2")
    report.tell(Finding("turn 1", "401 no key sk-2 or pass-1 at http://me:pass-1@host"))
    expected = "  turn 1         401 no key *** or *** at http://***@host\n"
    assert capsys.readouterr().out == expected
