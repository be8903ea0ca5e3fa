"""Times jaxml beside what users would pick instead: python -m launch.bench --batch_size=32,128.

All have the same network, batch, precision and optimiser, and take turns; warm-up is not counted.
Each has a process of its own, started as its users start theirs.

--what=train_step, inference, epoch and conv (single convolutions) compare speed, compile and
startup the waiting before it, svm support vector machines by python -m launch.bench_svm.
--what=campaign --out=DIR runs everything that is measured on an accelerator, in time limits.
"""

import tempfile

from absl import flags

from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cli

WHAT = flags.DEFINE_enum(
    "what",
    "train_step",
    ["train_step", "inference", "epoch", "compile", "startup", "conv", "svm", "campaign"],
    "what is timed",
)
MODEL = flags.DEFINE_string("model", "resnet20v1", "network, one of jaxml.models.MODELS")
BATCH_SIZE = flags.DEFINE_list("batch_size", ["128"], "images a step; several are taken in turn")
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 0, "height and width; 0 for those that the network was published for", 0
)
PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "of the computation; parameters are float32"
)
PEERS = flags.DEFINE_list(
    "peers", ["flax"], "of flax, keras, torch and torch_compile; those not installed are left out"
)
REPEATS = flags.DEFINE_integer("repeats", 0, "rounds; 0 for as many as what is timed needs", 0)
IMAGES = flags.DEFINE_integer("images", 50_000, "of an epoch", lower_bound=1)
DEVICES = flags.DEFINE_integer(
    "devices", 1, "how many a CPU pretends to be, for ours alone", lower_bound=1
)
JSON = flags.DEFINE_string("json", "", "file for the figures")
OUT = flags.DEFINE_string("out", "", "campaign: folder for campaign.json and campaign.log")
PARTS = flags.DEFINE_list(
    "parts", [], "campaign: parts, each with a limit as NAME:SECONDS if wanted; by default all"
)
SECONDS = flags.DEFINE_integer("seconds", 480, "campaign: time limit of all parts", lower_bound=1)
DATA_DIR = flags.DEFINE_string("data_dir", "data", "campaign: folder with mnist/ and CIFAR-10")
WORKDIR = flags.DEFINE_string(
    "workdir", "", "campaign: folder for runs and compiled programs; a new one by default"
)
DRY = flags.DEFINE_bool("dry", False, "campaign: whether all parts are tiny, for any machine")


def main() -> None:
    """Prints a table for each batch size, or the results of a campaign."""
    if WHAT.value == "campaign":
        _campaign()
        return
    from launch.benchmark.run import run  # after the flags, for it takes a second to import
    from launch.benchmark.settings import Settings

    if not all(size.isdecimal() for size in BATCH_SIZE.value):
        raise InputError(f"--batch_size: {','.join(BATCH_SIZE.value)} is not a list of integers")
    run(
        Settings(
            what=WHAT.value,
            model=MODEL.value,
            batch_sizes=tuple(map(int, BATCH_SIZE.value)),
            image_size=IMAGE_SIZE.value,
            precision=PRECISION.value,
            peers=tuple(PEERS.value),
            repeats=REPEATS.value,
            images=IMAGES.value,
            devices=DEVICES.value,
            json=user_path(JSON.value) if JSON.value else None,
        )
    )


def _campaign() -> None:
    from launch.benchmark.campaign.conductor import campaign
    from launch.benchmark.campaign.plan import PARTS as ALL
    from launch.benchmark.campaign.plan import Plan

    if not OUT.value:
        raise InputError("--out: a folder is needed")
    with tempfile.TemporaryDirectory(prefix="jaxml-campaign-") as temporary:
        campaign(
            Plan(
                out=user_path(OUT.value),
                parts=tuple(PARTS.value or ALL),
                seconds=SECONDS.value,
                data_dir=user_path(DATA_DIR.value),
                workdir=user_path(WORKDIR.value or temporary),
                dry=DRY.value,
            )
        )


if __name__ == "__main__":
    cli.run(main, tune=False)
