"""SIGTERM and SIGINT are noted once and act at once the second time."""

import os
import signal

import pytest

from jaxml.interrupt import Interrupted, StopSignals


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted(signum):
    before = signal.getsignal(signum)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), signum)
        assert signals.received is signum
    assert signal.getsignal(signum) is before


@pytest.fixture
def interruptible():
    """A shell starts what runs in its background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_second_signal_acts_as_ever(interruptible):
    with StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_message_names_signal_and_step():
    error = Interrupted(signal.SIGTERM, 12)
    assert str(error) == "stopped by SIGTERM at step 12, the state is saved"
