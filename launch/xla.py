"""What the launchers ask of XLA before it starts."""

import importlib.metadata
import importlib.util
from collections.abc import MutableMapping

FUSION = "--xla_cpu_experimental_ynn_fusion_type"
# XLA ends the process at a flag that it does not know, so only versions that were tried are asked.
TRIED = {"0.10.2"}


def tune_cpu(environment: MutableMapping[str, str]) -> None:
    """Sends convolutions on CPU to Eigen, unless `XLA_FLAGS` says already where they go.

    By default jaxlib 0.10 computes them with YNNPACK, at half the speed of Eigen from 32 channels
    on; reductions stay with YNNPACK, which is the faster there. A training step of ResNet-20 takes
    a quarter less time so. XLA has no other way to be asked: as a compiler option of `jax.jit`, the
    same setting is added to the default instead of taking its place.

    Args:
      environment: `os.environ`, before the first use of a device.
    """
    flags = environment.get("XLA_FLAGS", "")
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    accelerated = bool(plugins) or importlib.util.find_spec("libtpu") is not None
    tried = importlib.metadata.version("jaxlib") in TRIED
    if tried and not accelerated and FUSION not in flags:
        environment["XLA_FLAGS"] = f"{flags} {FUSION}=reduce".strip()
