"""Exports a run's weights: python -m launch.export --workdir=DIR --out=FILE.safetensors.

A model card with the settings and the metrics of the run comes beside the file, as FILE.md.
"""

from absl import flags

from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cli

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
OUT = flags.DEFINE_string("out", "", "safetensors file to write")
CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "newest, best, or the number of a step")
NAMES = flags.DEFINE_enum(
    "names",
    "native",
    ["native", "library"],
    "names of the tensors: our own, or those of the library that has the network",
)


def main() -> None:
    """Exports by the flags and prints the card."""
    for flag in (WORKDIR, OUT):
        if not flag.value:
            raise InputError(f"--{flag.name}: is missing")
    if user_path(OUT.value).suffix != ".safetensors":
        raise InputError(f"--out={OUT.value}: its ending must be .safetensors")
    from jaxml.training import export_weights  # imports JAX, so after the flags

    print(
        export_weights(
            user_path(WORKDIR.value),
            user_path(OUT.value),
            checkpoint=CHECKPOINT.value,
            names=NAMES.value,
        )
    )


if __name__ == "__main__":
    cli.run(main)
