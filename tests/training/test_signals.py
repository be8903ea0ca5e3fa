"""Signals are noted once, reported immediately, and act as ever the second time."""

import ctypes
import os
import pty
import signal
import threading
import time

import pytest

from jaxml.training import signals
from jaxml.training.signals import STOPPING, Interrupted, SignalWatch, StopSignals


@pytest.fixture(autouse=True)
def handlers():
    """A shell starts what runs in its background with SIGINT ignored, nohup with SIGHUP."""
    before = {signum: signal.getsignal(signum) for signum in STOPPING}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture
def stop(monkeypatch):
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0.0)
    with StopSignals() as stop:
        yield stop


def _send(signum):
    os.kill(os.getpid(), signum)


def _wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


@pytest.mark.parametrize("signum", STOPPING)
def test_the_first_signal_is_noted_and_reported(signum, capfd):
    before = signal.getsignal(signum)
    said = []
    with StopSignals() as signals:
        assert signals.received is None
        _send(signum)
        assert signals.received is signum
        _wait_for(lambda: said.append(capfd.readouterr().err) or "\n" in "".join(said))
    assert "".join(said) == (
        f"{signum.name}: stopping after this step; a second signal ends it immediately\n"
    )
    assert signal.getsignal(signum) is before


def test_a_signal_is_noticed_while_the_main_thread_runs_no_python(stop):
    library = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(64)  # zeros are an unlocked one; no signal ends a wait
    locked, noticed = threading.Event(), []

    def send():
        library.pthread_mutex_lock(mutex)
        locked.set()
        time.sleep(0.1)  # the main thread waits for the mutex now
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 30
        while not stop.received and time.monotonic() < deadline:
            time.sleep(0.001)
        noticed.append((stop.received, stop._handled._first))
        library.pthread_mutex_unlock(mutex)

    thread = threading.Thread(target=send)
    thread.start()
    locked.wait()
    library.pthread_mutex_lock(mutex)
    thread.join()
    assert noticed == [(signal.SIGTERM, None)]


def test_outside_the_context_signals_act_as_ever():
    signals = StopSignals()
    with pytest.raises(KeyboardInterrupt):
        _send(signal.SIGINT)
    with signals:
        pass
    with pytest.raises(KeyboardInterrupt):
        _send(signal.SIGINT)
    assert signals.received is None


def test_the_second_signal_acts_as_ever(stop):
    _send(signal.SIGINT)
    time.sleep(0.01)
    with pytest.raises(KeyboardInterrupt):
        _send(signal.SIGINT)


def test_an_echo_of_the_first_signal_is_not_the_second(stop, monkeypatch):
    monkeypatch.setattr(signals, "ECHO_SECONDS", 30.0)
    for _ in range(3):
        _send(signal.SIGINT)
    assert stop.received is signal.SIGINT


def test_a_closed_terminal_may_hang_up_twice_but_not_outlast_an_interrupt(stop):
    for _ in range(2):
        _send(signal.SIGHUP)
        time.sleep(0.01)
    assert stop.received is signal.SIGHUP
    with pytest.raises(KeyboardInterrupt):
        _send(signal.SIGINT)


def test_an_ignored_hangup_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as signals:
        _send(signal.SIGHUP)
        assert signals.received is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_the_second_signal_reaches_the_outer_watch_on_its_thread(monkeypatch):
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0.0)
    told = []
    outer = SignalWatch(told.append, lambda *_: None)
    with StopSignals() as stop:
        _send(signal.SIGTERM)
        _wait_for(lambda: stop.received)
        time.sleep(0.01)
        assert not told
        _send(signal.SIGTERM)
        _wait_for(lambda: told)
    outer.stop()
    assert set(told) == {signal.SIGTERM}


def test_another_thread_runs_without_handlers():
    before = [signal.getsignal(signum) for signum in STOPPING]
    received = []

    def use():
        with StopSignals() as signals:
            received.append((signals.received, [signal.getsignal(s) for s in STOPPING]))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert received == [(None, before)]


def test_output_to_a_closed_terminal_goes_nowhere():
    ours, terminal = pty.openpty()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        os.dup2(terminal, 1)
        os.close(ours)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(1, b"lost")
        signals.leave_closed_terminal()
        assert os.write(1, b"lost") == 4
    finally:
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(terminal)


def test_the_message_names_signal_and_step():
    error = Interrupted(signal.SIGTERM, 12)
    assert str(error) == "stopped by SIGTERM at step 12, the state is saved"
