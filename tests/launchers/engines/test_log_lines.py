"""The lines of an engine's log that say something."""

from launchers.engines.log_lines import log_lines


def test_colours_empty_lines_and_noise_are_left_out() -> None:
    text = (
        "\x1b[36m(Worker pid=7)\x1b[0m INFO loading\n"
        "\n"
        "nanobind: leaked 2 instances!\n"
        ' - leaked instance 0x7f of type "xgrammar.Grammar"\n'
        "RuntimeError: out of memory\n"
        "nanobind: this is likely caused by a reference counting issue in the binding code.\n"
    )
    assert log_lines(text) == ["(Worker pid=7) INFO loading", "RuntimeError: out of memory"]
