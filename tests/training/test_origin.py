"""The origin of a state: strangers are refused, changes of data and environment are named."""

import json

import pytest

from jaxml.config import Config
from jaxml.errors import InputError
from jaxml.training.origin import Origin

DATA = {"training inputs": "uint8[6,2] ab", "test inputs": "uint8[3,2] cd"}


def _origin(data=None, device="1 x cpu", **changes):
    return Origin.create(Config(**changes), data or DATA, device)


def _stored(origin):
    """The origin as it comes back from the header of a checkpoint."""
    return Origin(**json.loads(json.dumps(origin._asdict())))


def test_a_state_of_the_same_run_is_accepted():
    _origin().check(_stored(_origin()), "5.safetensors")
    _origin(num_epochs=60, eval_batch_size=3).check(_stored(_origin()), "5.safetensors")


def test_a_state_of_another_run_is_refused():
    message = (
        r"^5\.safetensors belongs to a run with another config: config\.seed is 1 there, 0 here$"
    )
    with pytest.raises(InputError, match=message):
        _origin().check(_stored(_origin(seed=1)), "5.safetensors")
    with pytest.raises(InputError, match=r"config\.num_epochs is 60 there, 30 here"):
        _origin().check(_stored(_origin(num_epochs=60)), "5.safetensors")


def test_changed_data_are_named():
    changed = {"training inputs": "uint8[3,2] ef", "test inputs": "uint8[3,2] cd"}
    message = r"the data changed since 5: training inputs was uint8\[6,2\] ab, is uint8\[3,2\] ef; "
    with pytest.raises(InputError, match=message):
        _origin(data=changed).check(_stored(_origin()), "5")


def test_segments_are_appended_and_changes_reported(monkeypatch):
    origin, messages = _origin().resume(_stored(_origin()), 11)
    assert [segment["step"] for segment in origin.segments] == [0, 11]
    assert messages == []
    origin, messages = _origin(device="2 x cpu", num_epochs=40).resume(_stored(origin), 22)
    assert [(s["step"], s["device"], s["num_epochs"]) for s in origin.segments] == [
        (0, "1 x cpu", 30),
        (11, "1 x cpu", 30),
        (22, "2 x cpu", 40),
    ]
    assert messages == [
        "the environment changed at step 22: device was 1 x cpu, is 2 x cpu; "
        "the parameters may differ from those of an uninterrupted run",
        "extended from 30 to 40 epochs: after step 22, the step schedule is that of a run of "
        "40 epochs",
    ]
