"""Checkpoints: whole, the newest and the best kept, corruption noticed."""

import contextlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import CheckpointConfig
from jaxml.errors import DivergedError, InputError, SaveError
from jaxml.metrics import ClassificationMetrics
from jaxml.normalize import ChannelStandardization
from jaxml.optim import Average
from jaxml.training._checkpoint_file import Header
from jaxml.training.checkpoint import Checkpoints, CheckpointWriter
from jaxml.training.digest import sha256
from jaxml.training.steps import TrainState


def _state(step, value=0.0):
    return TrainState(
        step=jnp.int32(step),
        params={"kernel": jnp.arange(6000.0).reshape(2, 3000) + value},
        batch_stats={"mean": jnp.ones(3)},
        average=Average(jnp.int32(0), None),
        opt_state=(jnp.int32(4), {"kernel": jnp.full((2, 3000), -value)}),
        metrics=ClassificationMetrics.empty(),
        normalizer=ChannelStandardization(mean=jnp.ones(1), std=jnp.ones(1)),
    )


def _abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def _writer(path, keep=2, **how):
    writer = CheckpointWriter(path, CheckpointConfig(keep=keep), **{"say": print, **how})
    return contextlib.closing(writer)


def _save_all(path, accuracies, keep=2):
    with _writer(path, keep) as checkpoints:
        for step, accuracy in accuracies.items():
            metrics = None if accuracy is None else {"accuracy": accuracy}
            checkpoints.save(_state(step, float(step)), {"note": step}, metrics)


def test_a_restored_state_is_the_saved_one_bit_for_bit(tmp_path):
    state = _state(5, 0.1)
    with _writer(tmp_path) as checkpoints:
        assert checkpoints.steps() == []
        checkpoints.save(state, {"clock": {"images": 3}}, None)
        checkpoints.confirm(5)
    checkpoints = Checkpoints(tmp_path)
    restored = checkpoints.restore(5, _abstract(state))
    assert checkpoints.header(5) == Header({"clock": {"images": 3}}, None)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert a.dtype == b.dtype
        assert a.sharding == b.sharding
        np.testing.assert_array_equal(a, b)


def test_a_saved_state_may_be_donated(tmp_path):
    state = _state(1)
    change = jax.jit(lambda s: jax.tree.map(lambda x: x + jnp.ones_like(x), s), donate_argnums=0)
    with _writer(tmp_path) as checkpoints:
        checkpoints.save(state, {}, None)
        change(state)
    restored = Checkpoints(tmp_path).restore(1, _abstract(_state(1)))
    np.testing.assert_array_equal(restored.params["kernel"], _state(1).params["kernel"])


def test_the_newest_and_the_best_are_kept(tmp_path):
    _save_all(tmp_path / "c", {1: 0.1, 2: 0.9, 3: 0.3, 4: None, 5: 0.2})
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.steps() == [2, 4, 5]
    assert checkpoints.best() == 2
    assert len(list((tmp_path / "c").iterdir())) == 3


def test_a_step_is_saved_once(tmp_path):
    _save_all(tmp_path, {1: 0.1})
    _save_all(tmp_path, {1: 0.2})
    assert Checkpoints(tmp_path).header(1).metrics == {"accuracy": 0.1}


def test_checkpoints_are_due_by_steps(tmp_path):
    def due(directory, steps, **settings):
        config = CheckpointConfig(**settings)
        with contextlib.closing(CheckpointWriter(directory, config, say=print)) as checkpoints:
            return [step for step in steps if checkpoints.is_due(step, num_steps=2)]

    steps = range(2, 14, 2)
    assert due(tmp_path, steps) == []
    assert due(tmp_path, steps, every_steps=3) == [4, 6, 10, 12]
    assert due(tmp_path, steps, every_minutes=1e-9, every_steps=12) == [12]


def test_the_minutes_start_again_with_a_save(tmp_path):
    config = CheckpointConfig(every_minutes=0.2 / 60)
    with contextlib.closing(CheckpointWriter(tmp_path, config, say=print)) as checkpoints:
        time.sleep(0.2)
        assert checkpoints.is_overdue()
        checkpoints.save(_state(1), {}, None)
        assert not checkpoints.is_overdue()
        time.sleep(0.2)
        assert checkpoints.is_overdue()


def test_no_checkpoint_is_overdue_without_a_limit(tmp_path):
    with contextlib.closing(CheckpointWriter(tmp_path, CheckpointConfig(), say=print)) as writer:
        assert not writer.is_overdue()


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    with _writer(tmp_path) as checkpoints:
        with pytest.raises(DivergedError, match="step 7: a value of the state is not finite"):
            checkpoints.save(_state(7, np.inf), {}, None)
        assert checkpoints.steps() == []


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_an_array(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _flip_the_header(path):
    content = path.read_bytes()
    assert content.count(b"0.4") == 1  # the accuracy
    path.write_bytes(content.replace(b"0.4", b"0.9"))


def _empty(path):
    path.write_bytes(b"")


def _garbage(path):
    path.write_bytes(b"\xff" * 100)


def _list(path):
    path.write_bytes((2).to_bytes(8, "little") + b"[]")


def _folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [_cut, _flip_an_array, _flip_the_header, _empty, _garbage, _list, _folder]
)
def test_a_corrupt_newest_gives_way_to_the_one_before(tmp_path, damage):
    said = []
    _save_all(tmp_path / "c", {1: 0.5, 2: 0.4})
    damage(tmp_path / "c" / "2.safetensors")
    with pytest.raises(InputError, match=r"2\.safetensors: is corrupt \("):
        Checkpoints(tmp_path / "c").restore(2, _abstract(_state(1)))
    with _writer(tmp_path / "c", say=said.append) as checkpoints:
        assert checkpoints.steps() == [1]
        assert int(checkpoints.restore(1, _abstract(_state(1))).step) == 1
        checkpoints.save(_state(2, 2.0), {"note": 2}, {"accuracy": 0.4})
    assert len(said) == 1
    assert said[0].startswith("the checkpoint of step 2 is corrupt (")
    assert len(list(tmp_path.glob("corrupt_checkpoint_2_*"))) == 1
    assert int(Checkpoints(tmp_path / "c").restore(2, _abstract(_state(1))).step) == 2


def test_every_flipped_bit_of_a_file_is_noticed_or_harmless(tmp_path):
    _save_all(tmp_path, {1: 0.5})
    path, state = tmp_path / "1.safetensors", _state(1, 1.0)
    expected = sha256(state)
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    header = 8 + int.from_bytes(content[:8], "little")
    places = [*range(header), *generator.integers(header, len(content), 100)]
    for place in places[:: max(len(places) // 300, 1)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(InputError):
            assert sha256(Checkpoints(tmp_path).restore(1, _abstract(state))) == expected


def test_a_run_whose_checkpoints_are_all_corrupt_is_not_started_over(tmp_path):
    _save_all(tmp_path, {1: 0.5})
    _cut(tmp_path / "1.safetensors")
    with pytest.raises(InputError, match="the checkpoint of step 1 is corrupt"):
        _writer(tmp_path)
    assert (tmp_path / "1.safetensors").is_file()


def test_the_state_of_another_network_is_refused(tmp_path):
    _save_all(tmp_path, {1: 0.5})
    checkpoints = Checkpoints(tmp_path)
    for params in ({"other": jnp.zeros(3)}, {"kernel": jnp.zeros((2, 3001))}):
        with pytest.raises(InputError, match=r"state\.params\['\w+'\] must be .*, got .*"):
            checkpoints.restore(1, _abstract(_state(1).replace(params=params)))
    with pytest.raises(FileNotFoundError):
        checkpoints.restore(2, _abstract(_state(1)))


def test_foreign_files_among_the_checkpoints_are_left_alone(tmp_path):
    _save_all(tmp_path, {1: 0.5})
    others = ["99", "note.txt", "x.safetensors", "007.safetensors"]
    for name in others:
        (tmp_path / name).write_text("x")
    (tmp_path / "98").mkdir()
    _save_all(tmp_path, {2: 0.6, 3: 0.7, 4: 0.8})
    assert Checkpoints(tmp_path).steps() == [3, 4]
    assert all((tmp_path / name).exists() for name in [*others, "98"])


def test_a_partial_file_of_a_killed_save_is_removed(tmp_path):
    _save_all(tmp_path, {1: 0.5})
    leftover = tmp_path / "2.safetensors.partial"
    leftover.write_text("x")
    with _writer(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
    assert not leftover.exists()


def test_a_failed_save_is_one_line_that_names_the_newest_whole_checkpoint(tmp_path):
    folder = tmp_path / "c"
    _save_all(folder, {1: 0.5})
    with _writer(folder) as checkpoints:
        folder.rename(tmp_path / "renamed")
        checkpoints.save(_state(2), {}, None)
        message = r"2\.safetensors: No such file or directory; there is no checkpoint$"
        with pytest.raises(SaveError, match=message):
            checkpoints.wait()
        (tmp_path / "renamed").rename(folder)
        with pytest.raises(SaveError, match=r"step 2 is not saved; the newest .* is step 1$"):
            checkpoints.confirm(2)
        checkpoints.save(_state(2), {}, None)
        checkpoints.confirm(2)


def test_a_save_is_attempted_although_the_one_before_failed(tmp_path):
    folder = tmp_path / "c"
    with _writer(folder) as checkpoints:
        folder.rmdir()
        checkpoints.save(_state(1), {}, None)
        while checkpoints._pending and not checkpoints._pending.done():
            time.sleep(0.001)
        folder.mkdir()
        with pytest.raises(SaveError, match="No such file"):
            checkpoints.save(_state(2), {}, None)
        checkpoints.confirm(2)


def test_nothing_is_written_once_the_guard_objects(tmp_path):
    def guard():
        raise InputError("the folder belongs to another run")

    with (
        pytest.raises(InputError, match="belongs to another run"),
        _writer(tmp_path, guard=guard) as checkpoints,
    ):
        checkpoints.save(_state(1), {}, None)
    assert list(tmp_path.iterdir()) == []


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
