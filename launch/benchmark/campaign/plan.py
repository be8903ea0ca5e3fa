"""The settings of a campaign, and its parts."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from jaxml.errors import InputError, choose


class Part(NamedTuple):
    """One part of the campaign.

    Attributes:
      function: `module:function`; the function takes a `Report`.
      seconds: time limit.
      background: whether it does not use the accelerator, and runs next to the other parts.
    """

    function: str
    seconds: float
    background: bool = False


# Most valuable first.
PARTS = {
    "check": Part(f"{__package__}.check:run", 100),
    "svm": Part(f"{__package__}.svm:fits", 150),
    "svm_peers": Part(f"{__package__}.svm:peers", 540, background=True),
    "resnet50": Part(f"{__package__}.resnet50:run", 400),
    "cifar_epoch": Part(f"{__package__}.cifar_epoch:run", 300),
    "cifar_recipe": Part(f"{__package__}.cifar_recipe:run", 400),
    "repeat": Part(f"{__package__}.repeat:run", 120),
    "precision": Part(f"{__package__}.resnet50:precisions", 240),
    "tests": Part(f"{__package__}.suite:run", 120),
}
DRY_SECONDS = 600.0  # time limit of each part; generous, for a busy host


@dataclasses.dataclass(frozen=True)
class Plan:
    """The settings of a campaign.

    Attributes:
      out: folder for campaign.json and campaign.log.
      parts: names in `PARTS`, each with an optional time limit as `NAME:SECONDS`.
      seconds: time limit of the whole campaign.
      data_dir: folder of the data sets.
      workdir: folder for runs and compiled programs.
      dry: whether to run tiny versions of the parts.
    """

    out: Path
    parts: tuple[str, ...]
    seconds: float
    data_dir: Path
    workdir: Path
    dry: bool = False

    def check(self) -> None:
        """Checks the names of the parts and creates the folders.

        Raises:
          InputError: a part is unknown, a limit is not an int, or a folder cannot be created.
        """
        for text in self.parts:
            name, _, seconds = text.partition(":")
            choose(PARTS, name, "--parts")
            if seconds and not seconds.isdecimal():
                raise InputError(f"--parts: {text}: the time limit must be an int, got {seconds!r}")
        for flag, folder in (("--out", self.out), ("--workdir", self.workdir)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{flag}: {folder}: {error.strerror}") from None

    def limits(self) -> dict[str, float]:
        """Returns the time limit in seconds of each part, in the order in which they run.

        >>> Plan(Path(), ("svm:30", "check"), 0.0, Path(), Path()).limits()
        {'svm': 30.0, 'check': 100.0}
        """
        limits = {}
        for text in self.parts:
            name, _, seconds = text.partition(":")
            limits[name] = float(seconds or (DRY_SECONDS if self.dry else PARTS[name].seconds))
        return limits
