"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from jaxml.reporting import progress
from jaxml.reporting.progress import Display

MEANS = {"loss": 0.25, "accuracy": 0.5}


def _console(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, soft_wrap=True)


def _text(console):
    return console.file.getvalue()


def test_a_terminal_gets_a_bar_with_all_metrics():
    console = _console(terminal=True)
    display = Display(10, 2, console=console)
    with display.live(step=0):
        display.update(5, 1, MEANS, images_per_second=1234.0)
    text = _text(console)
    for part in ("epoch 1/2", "50 %", "eta", "1,234 images/s", "loss 0.2500", "accuracy 50.00%"):
        assert part in text


def test_a_file_gets_lines_without_control_characters():
    console = _console(terminal=False)
    display = Display(10, 2, console=console)
    with display.live(step=0):
        display.update(5, 1, MEANS, images_per_second=1234.0)
        display.say("epoch 1/2 [done]")
    assert _text(console).strip() == "epoch 1/2 [done]"


def test_a_long_silence_is_broken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "QUIET_SECONDS", -1.0)
    console = _console(terminal=False)
    display = Display(10, 2, console=console)
    with display.live(step=0):
        display.update(5, 1, MEANS, images_per_second=1234.0)
    assert _text(console).startswith("epoch 1/2  step 5/10  1,234 images/s  loss 0.2500")
