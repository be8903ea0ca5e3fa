"""Compares the speed of jaxml and other libraries: python -m launch.bench --batch_size=32,128.

All run the same network with the same batch, precision and optimizer, each in its own process.
They are timed alternately, after warm-up calls.

--what=train_step, inference, epoch and conv (single convolutions) compare throughput; compile and
startup compare the time before the first step; svm runs python -m launch.bench_svm.
--what=input --data_dir=PHOTOS compares decoding and cropping of images with torch's DataLoader.
--what=campaign --out=DIR runs all measurements for an accelerator, with time limits.
"""

import tempfile

from absl import flags

from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cli

WHAT = flags.DEFINE_enum(
    "what",
    "train_step",
    ["train_step", "inference", "epoch", "compile", "startup", "conv", "svm", "input", "campaign"],
    "benchmark",
)
MODEL = flags.DEFINE_string("model", "resnet20v1", "network, one of jaxml.models.MODELS")
BATCH_SIZE = flags.DEFINE_list("batch_size", ["128"], "batch sizes, separated by commas")
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 0, "height and width of the images; 0 for the published size of the network", 0
)
PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "bfloat16"],
    "dtype of the computation; parameters are float32",
)
PEERS = flags.DEFINE_list(
    "peers",
    ["flax"],
    "other libraries, of flax, keras, torch and torch_compile; skipped if not installed",
)
REPEATS = flags.DEFINE_integer("repeats", 0, "number of rounds; 0 for the benchmark's default", 0)
IMAGES = flags.DEFINE_integer("images", 50_000, "number of images in an epoch", lower_bound=1)
DEVICES = flags.DEFINE_list(
    "devices",
    ["1"],
    "numbers of devices that jaxml simulates on a CPU, separated by commas; timed in turns and "
    "compared with the first",
)
JSON = flags.DEFINE_string("json", "", "JSON file for the measurements")
OUT = flags.DEFINE_string("out", "", "campaign: folder for campaign.json and campaign.log")
PARTS = flags.DEFINE_list(
    "parts", [], "campaign: parts, each with an optional time limit as NAME:SECONDS; by default all"
)
SECONDS = flags.DEFINE_integer("seconds", 480, "campaign: time limit in seconds", lower_bound=1)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "campaign: folder with mnist/ and CIFAR-10; input: folder with images"
)
WORKERS = flags.DEFINE_integer(
    "workers", 0, "input: number of threads or processes; 0 for one for each core", 0
)
MAX_SIDE = flags.DEFINE_integer(
    "max_side", 512, "input: longer side of the images that are converted first", 1
)
WORKDIR = flags.DEFINE_string(
    "workdir", "", "campaign: folder for runs and compiled programs; by default a temporary one"
)
DRY = flags.DEFINE_bool("dry", False, "campaign: whether to run tiny versions of all parts")


def main() -> None:
    """Prints a table for each batch size, or the results of a campaign."""
    if WHAT.value == "campaign":
        _campaign()
        return
    from launch.benchmark.run import run  # imports JAX, so after the flags
    from launch.benchmark.settings import Settings

    run(
        Settings(
            what=WHAT.value,
            model=MODEL.value,
            batch_sizes=_integers(BATCH_SIZE),
            image_size=IMAGE_SIZE.value,
            precision=PRECISION.value,
            peers=tuple(PEERS.value),
            repeats=REPEATS.value,
            images=IMAGES.value,
            devices=_integers(DEVICES),
            data_dir=user_path(DATA_DIR.value),
            workers=WORKERS.value,
            max_side=MAX_SIDE.value,
            json=user_path(JSON.value) if JSON.value else None,
        )
    )


def _integers(flag: flags.FlagHolder[list[str]]) -> tuple[int, ...]:
    if not all(value.isdecimal() for value in flag.value):
        raise InputError(f"--{flag.name} must be a list of integers, got {','.join(flag.value)!r}")
    return tuple(map(int, flag.value))


def _campaign() -> None:
    from launch.benchmark.campaign.conductor import campaign
    from launch.benchmark.campaign.plan import PARTS as ALL
    from launch.benchmark.campaign.plan import Plan

    if not OUT.value:
        raise InputError("--out must be given")
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
    cli.run(main)
