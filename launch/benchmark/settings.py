"""Settings of a benchmark, checked before anything is started."""

import dataclasses
import itertools
from pathlib import Path

from jaxml.errors import InputError, choose
from jaxml.models import MODELS, network_class
from launch.benchmark.task import Task
from launch.outputs import check_output

# Benchmarks, and their default number of rounds.
REPEATS = {
    "train_step": 15,
    "inference": 15,
    "epoch": 1,
    "compile": 3,
    "startup": 3,
    "conv": 15,
    "svm": 3,
    "input": 5,
}
PRECISIONS = ("float32", "bfloat16")
PEERS = ("flax", "keras", "torch", "torch_compile")
SHARDED = ("train_step", "inference", "epoch")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a benchmark.

    Attributes:
      what: benchmark, a name in `REPEATS`.
      model: network, a name in `jaxml.models.MODELS`.
      batch_sizes: batch sizes, measured one after another.
      image_size: height and width of the images; 0 for the published size of the network.
      precision: dtype of the computation, a name in `PRECISIONS`; parameters are float32.
      peers: other libraries, names in `PEERS`.
      repeats: number of rounds; 0 for the default in `REPEATS`.
      images: number of images in an epoch.
      devices: numbers of devices that jaxml simulates on a CPU; peers use the first.
      data_dir: folder with images for "input".
      workers: threads or processes of "input"; 0 for one for each core.
      max_side: size of the images of "input" that are converted.
      json: file for the measurements, or None.
    """

    what: str = "train_step"
    model: str = "resnet20v1"
    batch_sizes: tuple[int, ...] = (128,)
    image_size: int = 0
    precision: str = "float32"
    peers: tuple[str, ...] = ("flax",)
    repeats: int = 0
    images: int = 50_000
    devices: tuple[int, ...] = (1,)
    data_dir: Path = Path("data")
    workers: int = 0
    max_side: int = 512
    json: Path | None = None

    def check(self) -> None:
        """Checks the settings and their combination.

        Raises:
          InputError: a setting is wrong.
        """
        choose(REPEATS, self.what, "--what")
        choose(MODELS, self.model, "--model")
        for peer in self.peers:
            choose(dict.fromkeys(PEERS), peer, "--peers")
        if not self.batch_sizes:
            raise InputError("--batch_size must have at least one value, got none")
        self._check_devices()
        if self.what in ("epoch", "input") and self.images < max(self.batch_sizes):
            raise InputError(
                f"--images must be at least {max(self.batch_sizes)}, the batch size, "
                f"got {self.images}"
            )
        check_output("--json", self.json)

    def _check_devices(self) -> None:
        if not self.devices or min(self.devices) < 1 or len({*self.devices}) < len(self.devices):
            given = ",".join(map(str, self.devices))
            raise InputError(f"--devices must be distinct positive integers, got {given!r}")
        for size, devices in itertools.product(self.batch_sizes, self.devices):
            if size < 1 or size % devices:
                raise InputError(
                    f"--batch_size must be positive and a multiple of --devices={devices}, "
                    f"got {size}"
                )
        if max(self.devices) > 1 and self.what not in SHARDED:
            raise InputError(
                f"--devices must be 1 unless --what is one of {', '.join(SHARDED)}, "
                f"got {max(self.devices)} with {self.what}"
            )

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return self.repeats or REPEATS[self.what]

    def task(self, batch_size: int) -> Task:
        """Returns the task for one batch size."""
        kind = network_class(MODELS[self.model])
        return Task(
            what=self.what,
            model=self.model,
            batch_size=batch_size,
            image_size=self.image_size or kind.image_size,
            num_classes=kind.num_published_classes,
            precision=self.precision,
            images=self.images,
            devices=self.devices[0],
        )
