"""Trains a network: python -m launch.train --config=configs/NAME.py --workdir=DIR.

Any setting is overridden as --config.FIELD=VALUE. The same command goes on where it was stopped.
Compiled programs are kept beside DIR, for later runs, or where JAX_COMPILATION_CACHE_DIR says.
"""

import gc
import os
import time

from absl import flags

from jaxml.config import user_path
from launch import cache, cli

WORKDIR = flags.DEFINE_string(
    "workdir", "", "folder of the run; by default a new one under runs/, named when it starts"
)


def main() -> None:
    """Trains by the flags."""
    name, config = cli.config()
    workdir = user_path(WORKDIR.value or f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    print(f"run in {workdir}", flush=True)
    gc.set_threshold(50_000)  # JAX traces a network into many objects, few of which are garbage
    cache.keep_compiled(workdir.absolute().parent / ".compiled", os.environ)
    from jaxml.train import train_and_evaluate  # now that all is set, for it imports JAX

    train_and_evaluate(config, workdir)


if __name__ == "__main__":
    cli.run(main, config="configs/digits_resnet20v1.py")
