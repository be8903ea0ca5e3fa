"""A replay gives the saved bits, and a changed array of a checkpoint is found."""

import dataclasses
import re
import shutil

import numpy as np
import pytest

from jaxml.config import CheckpointConfig, ModelConfig
from jaxml.errors import InputError
from jaxml.training import compare_runs, verify_run
from jaxml.training._checkpoint_file import encode, read, read_header
from jaxml.training.loop import train_and_evaluate
from jaxml.training.verification import compare_states
from tests import tiny

pytestmark = pytest.mark.slow

CONFIG = tiny.config(
    num_epochs=3,
    model=ModelConfig(name="linear"),
    checkpoint=CheckpointConfig(every_steps=2, keep=9),
)
KERNEL = ".params['head']['kernel']"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with checkpoints after steps 2, 3, 4, 6, 8 and 9."""
    folder = tmp_path_factory.mktemp("run") / "a"
    train_and_evaluate(CONFIG, folder)
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "b")


def _keep(folder, *steps):
    for path in (folder / "checkpoints").iterdir():
        if int(path.stem) not in steps:
            path.unlink()


def _change(folder, step, name=KERNEL, amount=0.5):
    """Adds to an entry of an array of a checkpoint, and writes it with a correct digest."""
    path = folder / f"checkpoints/{step}.safetensors"
    arrays, header = read(path), read_header(path)
    changed = np.array(arrays[name])
    changed.flat[3] += amount
    path.write_bytes(encode({**arrays, name: changed}, header))


def _files(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("num_steps", "first"), [(None, 8), (1, 8), (2, 6), (4, 4), (7, 2)])
def test_a_replay_has_the_saved_bits_and_writes_nothing(run, num_steps, first):
    before = _files(run)
    result = verify_run(run, num_steps)
    assert result.is_equal
    (line,) = result.lines
    text = rf"{run}, step 9: replayed from step {first}, the states are equal \(sha256 \w{{16}}\)"
    assert re.fullmatch(text, line)
    assert _files(run) == before


def test_a_replay_of_several_steps_a_call_has_the_saved_bits(tmp_path):
    config = tiny.config(
        num_epochs=2, steps_per_call=2, checkpoint=CheckpointConfig(every_steps=1, keep=9)
    )
    train_and_evaluate(config, tmp_path)
    assert verify_run(tmp_path, 4).is_equal


def test_a_run_that_was_extended_is_replayed_with_its_last_schedule(copy):
    train_and_evaluate(dataclasses.replace(CONFIG, num_epochs=4), copy)
    assert verify_run(copy, 3).is_equal
    _keep(copy, 8, 9)
    assert verify_run(copy).is_equal  # with the schedule of the shorter run


def test_a_changed_parameter_is_found(copy):
    _change(copy, 9)
    result = verify_run(copy)
    assert not result.is_equal
    (line,) = result.lines
    entries = r"differs in 1 of 640 entries, by at most 0\.5; number of arrays that differ: 1"
    assert re.search(rf"step 9: replayed from step 8, state{re.escape(KERNEL)} {entries}", line)


def test_a_changed_state_before_the_replay_is_found(copy):
    _change(copy, 8)
    (line,) = verify_run(copy).lines
    assert f"state{KERNEL} differs" in line or "state.params['head']['bias'] differs" in line
    assert not verify_run(copy).is_equal


def test_equal_runs_are_equal_at_each_checkpoint(run, copy):
    result = compare_runs(run, copy)
    assert result.is_equal
    assert [line.partition(":")[0] for line in result.lines] == [
        f"step {step}" for step in (2, 3, 4, 6, 8, 9)
    ]


def test_the_first_difference_of_two_runs_is_found_and_attributed(run, copy):
    before = _files(run)
    _change(copy, 4)
    _change(copy, 8)
    result = compare_runs(run, copy)
    assert not result.is_equal
    assert len(result.lines) == 5
    for line, start in zip(result.lines, ("step 2: the", "step 3: the", "step 4: state.params"),
                           strict=False):  # fmt: skip
        assert line.startswith(start)
    assert [line.partition(",")[0] for line in result.lines[3:]] == [str(run), str(copy)]
    assert "step 4: replayed from step 3, the states are equal" in result.lines[3]
    assert f"step 4: replayed from step 3, state{KERNEL} differs in 1 of 640" in result.lines[4]
    assert _files(run) == before


def test_checkpoints_of_one_run_alone_narrow_the_difference(run, copy):
    _keep(copy, 2, 4, 6)
    _change(copy, 4)
    shutil.copy(copy / "checkpoints/4.safetensors", copy / "checkpoints/5.safetensors")
    _change(copy, 6)
    one = shutil.copytree(run, copy.parent / "c")
    _keep(one, 2, 3, 6)
    lines = compare_runs(one, copy).lines
    assert [line for line in lines if "are equal" in line and f"{one}, step 3" in line]
    assert [line for line in lines if f"{copy}, step 4: replayed from step 2, state.par" in line]
    assert [line for line in lines if "are equal" in line and f"{one}, step 6" in line]


@pytest.mark.parametrize(
    ("saved", "num_steps", "message"),
    [
        ((), None, "has no checkpoint yet"),
        ((4,), None, "must have two checkpoints, has only that of step 4; config.checkpoint.keep"),
        ((4, 6), 3, r"--steps must be <= 2, the steps between the first and the last .*, got 3"),
    ],
)
def test_too_few_checkpoints_are_one_line(copy, saved, num_steps, message):
    _keep(copy, *saved)
    with pytest.raises(InputError, match=message):
        verify_run(copy, num_steps)


def test_other_configs_and_folders_are_one_line(run, copy, tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        verify_run(tmp_path)
    with pytest.raises(InputError, match="holds no run"):
        compare_runs(run, tmp_path)
    empty = shutil.copytree(run, tmp_path / "empty")
    _keep(empty, 3)
    _keep(copy, 4)
    with pytest.raises(InputError, match=r"same step, .*has \[3\] and .*has \[4\]"):
        compare_runs(empty, copy)
    text = (copy / "config.json").read_text().replace('"seed": 0', '"seed": 1')
    (copy / "config.json").write_text(text)
    message = r"must be a run with the config of .*: config.seed is 0 there, 1 here"
    with pytest.raises(InputError, match=message):
        compare_runs(run, copy)
    _keep(shutil.copytree(run, copy.parent / "d"), 8, 9)
    (copy.parent / "d/config.json").write_text(text)
    with pytest.raises(InputError, match=r"belongs to a run with another config: config.seed"):
        verify_run(copy.parent / "d")


def test_states_are_compared_bit_for_bit():
    state = {"a": np.array([0.0, np.nan]), "b": np.array(3)}
    assert compare_states(state, dict(state)) is None
    signed = compare_states({**state, "a": np.array([-0.0, np.nan])}, state)
    assert signed is not None
    assert (signed.name, signed.num_unequal, signed.size) == ("a", 1, 2)
    scalar = compare_states({**state, "b": np.array(5)}, state)
    assert scalar is not None
    assert (scalar.name, scalar.num_unequal, scalar.largest) == ("b", 1, 2.0)
