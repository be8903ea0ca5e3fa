"""What a program needs, what there is, and what is refused before it is tried."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml.errors import InputError
from jaxml.io import memory

MEMINFO = "MemTotal: 9000 kB\nMemAvailable: 1000 kB\nSwapFree: 24 kB\nHugePages_Total: 0\n"


@pytest.fixture
def meminfo(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text(MEMINFO)
    return path


def _limit(folder, limit, usage, names=("memory.max", "memory.current", "memory.stat")):
    for name, text in zip(names, (limit, usage, "anon 5\ninactive_file 100\n"), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")


def test_the_host_has_what_the_system_and_the_container_allow(meminfo, tmp_path):
    host = 1024 * (1000 + 24)
    assert memory.available_on_host(meminfo, tmp_path / "none") == host
    _limit(tmp_path / "tight", 5000, 4000)
    assert memory.available_on_host(meminfo, tmp_path / "tight") == 5000 - 4000 + 100
    _limit(tmp_path / "wide", 10**12, 4000)
    assert memory.available_on_host(meminfo, tmp_path / "wide") == host
    _limit(tmp_path / "free", "max", 4000)
    assert memory.available_on_host(meminfo, tmp_path / "free") == host
    _limit(tmp_path / "over", 5000, 6000)
    assert memory.available_on_host(meminfo, tmp_path / "over") == 0


def test_another_system_has_an_unknown_amount(tmp_path):
    assert memory.available_on_host(tmp_path / "none", tmp_path / "none") is None
    (tmp_path / "meminfo").write_text("nothing known")
    assert memory.available_on_host(tmp_path / "meminfo", tmp_path / "none") is None


def _device(platform, **stats):
    return types.SimpleNamespace(
        platform=platform, device_kind=f"a {platform}", memory_stats=lambda: stats or None
    )


def test_devices_have_what_the_fullest_one_has(monkeypatch):
    devices = [_device("gpu", bytes_limit=100, bytes_in_use=used) for used in (10, 30)]
    assert memory.available_on(devices) == 70
    assert memory.available_on([_device("other")]) is None
    monkeypatch.setattr(memory, "available_on_host", lambda: 90)
    assert memory.available_on([_device("cpu")] * 2) == 45  # they share that of the host


def test_more_than_there_is_is_refused_with_both_sizes():
    devices = [_device("gpu", bytes_limit=3 * 2**30)]
    memory.check(3 * 2**30, "a step", devices)
    memory.check(2**60, "a step", [_device("other")])
    with pytest.raises(InputError) as caught:
        memory.check(3 * 2**30 + 2**29, "a step", devices)
    assert str(caught.value).startswith(
        "a step must fit in the available memory of a gpu, 3.0 GiB, got 3.5 GiB; "
    )


def test_a_program_needs_its_results_and_its_intermediate_values():
    x = jnp.ones((512, 512))

    def twice(x):
        return jnp.sort(x @ x, axis=0) @ x

    needed = memory.of_program(jax.jit(twice).lower(x).compile())
    assert needed >= 2 * x.nbytes  # the result, and at least the first product
    donated = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    assert memory.of_program(donated) == 0


def test_arrays_need_their_bytes():
    tree = {"a": np.zeros((3, 4), np.float32), "b": jax.ShapeDtypeStruct((5,), jnp.bfloat16)}
    assert memory.of_arrays(tree) == 48 + 10


def test_a_sharded_array_has_a_part_on_each_device():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    for spec, size in ((PartitionSpec("data"), 24), (PartitionSpec(), 48)):
        sharding = NamedSharding(mesh, spec)
        array = jax.device_put(jnp.zeros((4, 3)), sharding)
        abstract = jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=sharding)
        assert memory.of_arrays(array) == memory.of_arrays(abstract) == size
