"""What is asked of a benchmark, checked before anything is started."""

import dataclasses
from pathlib import Path

from jaxml.errors import InputError, choose
from jaxml.models import MODELS, network_class
from jaxml.svm.command.experiment import check_output
from launch.benchmark.task import Task

# What can be timed, and how often it is where nothing else is said.
REPEATS = {
    "train_step": 15,
    "inference": 15,
    "epoch": 1,
    "compile": 3,
    "startup": 3,
    "conv": 15,
    "svm": 3,
}
PRECISIONS = ("float32", "bfloat16")
PEERS = ("flax", "keras", "torch", "torch_compile")
SHARDED = ("train_step", "inference", "epoch")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is timed, and how.

    Attributes:
      what: a name in `REPEATS`.
      model: a name in `jaxml.models.MODELS`.
      batch_sizes: measured one after another.
      image_size: height and width; 0 for those that the network was published for.
      precision: a name in `PRECISIONS`, of the computation; parameters are float32.
      peers: names in `PEERS`.
      repeats: how often each is timed; 0 for as often as `REPEATS` says.
      images: of an epoch.
      devices: how many a CPU pretends to be, for ours alone.
      json: file for the figures, or None.
    """

    what: str = "train_step"
    model: str = "resnet20v1"
    batch_sizes: tuple[int, ...] = (128,)
    image_size: int = 0
    precision: str = "float32"
    peers: tuple[str, ...] = ("flax",)
    repeats: int = 0
    images: int = 50_000
    devices: int = 1
    json: Path | None = None

    def check(self) -> None:
        """Checks the names, and what does not go together.

        Raises:
          InputError: something is not what it has to be.
        """
        choose(REPEATS, self.what, "--what")
        choose(MODELS, self.model, "--model")
        for peer in self.peers:
            choose(dict.fromkeys(PEERS), peer, "--peers")
        if not self.batch_sizes:
            raise InputError("--batch_size: at least one is needed")
        for size in self.batch_sizes:
            if size < 1 or size % self.devices:
                raise InputError(
                    f"--batch_size: {size} is not allowed, it must be a multiple of "
                    f"--devices={self.devices}"
                )
        if self.devices > 1 and self.what not in SHARDED:
            raise InputError(
                f"--devices: {self.devices} is not allowed with --what={self.what}, "
                f"only with {', '.join(SHARDED)}"
            )
        if self.what == "epoch" and self.images < max(self.batch_sizes):
            raise InputError(
                f"--images: {self.images} is not allowed, a batch has {max(self.batch_sizes)}"
            )
        check_output("--json", self.json)

    @property
    def rounds(self) -> int:
        """How often each is timed."""
        return self.repeats or REPEATS[self.what]

    def task(self, batch_size: int) -> Task:
        """What one competitor is to do."""
        kind = network_class(MODELS[self.model])
        return Task(
            what=self.what,
            model=self.model,
            batch_size=batch_size,
            image_size=self.image_size or kind.image_size,
            num_classes=kind.num_published_classes,
            precision=self.precision,
            images=self.images,
            devices=self.devices,
        )
