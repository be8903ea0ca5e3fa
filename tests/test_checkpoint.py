"""Checkpoints: whole, the newest and the best kept, corruption noticed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.averages import Average
from jaxml.checkpoint import Checkpoints, sha256
from jaxml.config import CheckpointConfig
from jaxml.errors import DivergedError, InputError
from jaxml.metrics import ClassificationMetrics
from jaxml.normalize import ChannelStandardization
from jaxml.step import TrainState


def _state(step, value=0.0):
    return TrainState(
        step=jnp.int32(step),
        params={"kernel": jnp.arange(6000.0).reshape(2, 3000) + value},
        batch_stats={"mean": jnp.ones(3)},
        average=Average(jnp.int32(0), None),
        opt_state=(jnp.int32(4), {"kernel": jnp.full((2, 3000), -value)}),
        metrics=ClassificationMetrics.zero(),
        normalizer=ChannelStandardization(mean=jnp.ones(1), std=jnp.ones(1)),
    )


def _abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def _save_all(path, accuracies, keep=2):
    with Checkpoints(path, CheckpointConfig(keep=keep), say=print) as checkpoints:
        for step, accuracy in accuracies.items():
            metrics = None if accuracy is None else {"accuracy": accuracy}
            checkpoints.save(_state(step, float(step)), {"note": step}, metrics)


def test_what_is_restored_is_what_was_saved_bit_for_bit(tmp_path):
    state = _state(5, 0.1)
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=print) as checkpoints:
        assert checkpoints.steps() == []
        checkpoints.save(state, {"clock": {"images": 3}}, None)
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=print) as checkpoints:
        restored = checkpoints.restore(5, _abstract(state))
    assert restored.notes["clock"] == {"images": 3}
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored.state), jax.tree.leaves(state), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_saved_state_may_be_donated(tmp_path):
    state = _state(1)
    change = jax.jit(lambda s: jax.tree.map(lambda x: x + jnp.ones_like(x), s), donate_argnums=0)
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=print) as checkpoints:
        checkpoints.save(state, {}, None)
        change(state)
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=print) as checkpoints:
        restored = checkpoints.restore(1, _abstract(_state(1))).state
    np.testing.assert_array_equal(restored.params["kernel"], _state(1).params["kernel"])


def test_the_newest_and_the_best_are_kept(tmp_path):
    _save_all(tmp_path / "c", {1: 0.1, 2: 0.9, 3: 0.3, 4: None, 5: 0.2})
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=None) as checkpoints:
        assert checkpoints.steps() == [2, 4, 5]
        assert checkpoints.best() == 2


def test_a_step_is_saved_once(tmp_path):
    _save_all(tmp_path / "c", {1: 0.1})
    _save_all(tmp_path / "c", {1: 0.2})
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=None) as checkpoints:
        assert checkpoints.steps() == [1]


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=print) as checkpoints:
        with pytest.raises(DivergedError, match="step 7: a parameter is not finite"):
            checkpoints.save(_state(7, np.inf), {}, None)
        assert checkpoints.steps() == []


def _files(folder):
    return sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def _cut(folder):
    largest = _files(folder)[-1]
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


def _flip(folder):
    largest = _files(folder)[-1]
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(bytes(content))


def _empty_all(folder):
    for path in _files(folder):
        path.write_bytes(b"")


def _remove_state(folder):
    for path in _files(folder / "state"):
        path.unlink()


def _remove_notes(folder):
    for path in _files(folder / "notes"):
        path.unlink()


@pytest.mark.parametrize("damage", [_cut, _flip, _empty_all, _remove_state, _remove_notes])
def test_a_corrupt_newest_gives_way_to_the_one_before(tmp_path, damage):
    said = []
    _save_all(tmp_path / "c", {1: 0.5, 2: 0.4})
    damage(tmp_path / "c" / "2")
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=said.append) as checkpoints:
        assert checkpoints.steps() == [1]
        assert int(checkpoints.restore(1, _abstract(_state(1))).state.step) == 1
        checkpoints.save(_state(2, 2.0), {"note": 2}, {"accuracy": 0.4})
    assert len(said) == 1
    assert said[0].startswith("the checkpoint of step 2 is corrupt (")
    assert len(list(tmp_path.glob("corrupt_checkpoint_2_*"))) == 1
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=None) as checkpoints:
        assert int(checkpoints.restore(2, _abstract(_state(1))).state.step) == 2


def test_a_run_whose_checkpoints_are_all_corrupt_is_not_started_over(tmp_path):
    _save_all(tmp_path / "c", {1: 0.5})
    _cut(tmp_path / "c" / "1")
    for say in (print, None):
        with pytest.raises(InputError, match="the checkpoint of step 1 is corrupt"):
            Checkpoints(tmp_path / "c", CheckpointConfig(), say=say)
    assert (tmp_path / "c" / "1").is_dir()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    _save_all(tmp_path / "c", {1: 0.5})
    other = _state(1).replace(params={"other": jnp.zeros(3)})
    with (
        Checkpoints(tmp_path / "c", CheckpointConfig(), say=None) as checkpoints,
        pytest.raises(InputError, match="cannot be read"),
    ):
        checkpoints.restore(1, _abstract(other))


def test_what_a_killed_save_leaves_is_removed(tmp_path):
    _save_all(tmp_path / "c", {1: 0.5})
    leftover = tmp_path / "c" / "2.orbax-checkpoint-tmp"
    leftover.mkdir()
    with Checkpoints(tmp_path / "c", CheckpointConfig(), say=print) as checkpoints:
        assert checkpoints.steps() == [1]
        checkpoints.save(_state(2, 2.0), {}, None)
    assert not leftover.exists()


def test_the_digest_sees_names_shapes_types_and_bits():
    tree = {"a": np.zeros(4, np.float32)}
    others = [
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.zeros(4, np.int32)},
        {"a": np.array([0, 0, 0, -0.0], np.float32)},
    ]
    assert len({sha256(t) for t in [tree, *others]}) == 5
    assert sha256(tree) == sha256({"a": jnp.zeros(4, jnp.float32)})
