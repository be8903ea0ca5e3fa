"""Shows the installation and which fast paths of a CPU are in use: python -m launch.doctor.

A fast path that was never tried on this machine is tried now, which takes some seconds. With
--config=FILE, a few steps of the run are taken, and its time, memory and operations are shown, and
the largest batch that fits.
"""

import importlib.metadata
import os
import platform
import re
import shlex
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from absl import flags

from jaxml import _cpu
from jaxml.errors import InputError, choose
from launch import cache, cli

if TYPE_CHECKING:
    from jaxml.training.capacity import Fit

AGAIN = flags.DEFINE_boolean("again", False, "try the fast paths again, ignoring the cache")
PLAN = flags.DEFINE_string(
    "plan", "", "accelerators such as h100x8, for which the run of --config is estimated"
)
LIBRARIES = ("jaxml", "jax", "jaxlib", "flax", "optax", "numpy")


def main() -> None:
    """Prints one line per fact."""
    planned = cli.names_config() or bool(cli.overrides())
    if PLAN.value and not planned:
        raise InputError("--plan must be empty without --config=FILE")
    rows = [("Python", f"{platform.python_version()} on {platform.platform()}")]
    rows += [(name, _version(name)) for name in LIBRARIES]
    rows += _cpu.report(again=AGAIN.value)
    if planned:
        cache.keep_compiled(cache.user_folder(os.environ), os.environ)
    _cpu.tune(os.environ)
    import jax  # reads the environment

    rows.append(("devices", ", ".join(f"{d.id}: {d.device_kind}" for d in jax.devices())))
    _print(rows)
    if planned:
        hits = _count_cache_events()
        rows = _planned()
        _print([*rows, ("compilation cache", f"{hits['hits']} hits, {hits['misses']} misses")])


def _print(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, fact in rows:
        print(f"{name:{width}}  {fact}", flush=True)


def _planned() -> list[tuple[str, str]]:
    """Returns the facts about the run of the config."""
    from jaxml.io.memory import in_words
    from jaxml.training.plan import ACCELERATORS, estimate, measure_plan

    asked = re.fullmatch(r"([a-z0-9]+?)(?:x(\d+))?", PLAN.value)
    if PLAN.value:
        choose(ACCELERATORS, asked[1] if asked else PLAN.value, "--plan")
    plan = measure_plan(cli.config()[1])
    sizes = plan.experiment.sizes
    ceiling = _product_ceiling(plan.experiment.config.model.dtype)
    utilization = plan.utilization(ceiling)
    limit, change = plan.advice(utilization)
    available, rate = plan.available_bytes, sizes.batch_size / plan.step_seconds
    rows = [
        ("run", str(plan.experiment)),
        ("parameters", f"{plan.parameters:,}"),
        (
            "operations of a step",
            f"{plan.model_flops:.3g} of the model, {plan.xla_flops:.3g} by XLA",
        ),
        ("memory of the state", in_words(plan.state_bytes)),
        ("memory of the data", in_words(plan.data_bytes)),
        (
            "memory of a step",
            in_words(plan.step_bytes)
            + (f" of {in_words(available)} available" if available else ""),
        ),
        ("largest batch", _largest_batch(plan.largest)),
        ("compilation", f"{plan.compile_seconds:.1f} s"),
        ("step", f"{plan.step_seconds * 1e3:.4g} ms, {rate:,.0f} images/s"),
        (
            "input",
            f"{sizes.batch_size / plan.input_seconds:,.0f} images/s"
            if plan.input_seconds
            else "on the device",
        ),
        ("seconds an epoch", f"{plan.epoch_seconds:.3g}, predicted from steps"),
        ("product ceiling", f"{ceiling / 1e9:,.0f} GFLOP/s, measured"),
        ("utilization", f"{utilization:.1%} of the ceiling"),
        ("limited by", limit),
        ("what helps", change),
    ]
    if asked and PLAN.value:
        count = int(asked[2] or 1)
        found = estimate(plan, ACCELERATORS[asked[1]], count)
        fits = "fits" if found.fits else "does not fit"
        rows.append(
            (
                f"estimate for {PLAN.value}",
                f"{found.epoch_seconds:.3g} s an epoch (not measured: 35 % of the peak, without "
                f"input); {in_words(int(found.needed_bytes))} on each device, which {fits}",
            )
        )
    return rows


def _largest_batch(found: "Fit | None") -> str:
    """Describes the largest batch that fits, with the command that uses it."""
    from jaxml.io.memory import in_words

    if found is None:
        return "unknown, as the memory of the device is"
    limit = "" if found.is_limited else ", limited by the training set"
    words = [f"--config={cli.config_file()}", *cli.override_words({"batch_size": found.batch_size})]
    return (
        f"{found.batch_size:,}{limit}: needs {in_words(found.needed_bytes)} of "
        f"{in_words(found.available_bytes)}; {cli.COMMAND.format('train')} {shlex.join(words)}"
    )


def _product_ceiling(dtype: str) -> float:
    """Returns the measured operations a second of large matrix products on all devices."""
    import jax
    import jax.numpy as jnp

    from launch.benchmark.ceilings import PRODUCT, operations

    operation = operations(jnp.dtype(dtype))[PRODUCT]
    operation.call()
    seconds = [_seconds(operation.call) for _ in range(5)]
    # CPU devices share the cores, all of which one product uses.
    devices = 1 if jax.default_backend() == "cpu" else len(jax.devices())
    return devices * operation.flops / min(seconds)


def _seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def _count_cache_events() -> dict[str, int]:
    """Returns a dictionary in which JAX counts the programs of the persistent cache."""
    import jax

    counts = {"hits": 0, "misses": 0}

    def count(event: str, **_: Any) -> None:
        for name in counts:
            counts[name] += event == f"/jax/compilation_cache/cache_{name}"

    jax.monitoring.register_event_listener(count)
    return counts


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    cli.run(main, config="configs/digits_resnet20v1.py")
