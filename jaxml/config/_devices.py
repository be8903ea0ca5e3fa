"""Settings of the devices of a run."""

import dataclasses

from jaxml.config._node import Settings, setting


@dataclasses.dataclass
class MeshConfig(Settings):
    """The devices of a run: batches are sharded over all of them."""

    fsdp: int = setting(
        1,
        "Number of devices over which parameters, optimizer state and averages are sharded; it "
        "divides the number of devices, and 1 replicates them.",
        low=1,
        resume="any",
    )


@dataclasses.dataclass
class CpuConfig(Settings):
    """Fast paths of a CPU; each is used only where it has proved itself."""

    onednn: bool = setting(True, "Lets convolutions on CPUs call oneDNN.")
    xla_flags: bool = setting(True, "Sets options of XLA and JAX that save time and memory.")
