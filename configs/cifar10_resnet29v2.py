"""ResNet-29 v2 on CIFAR-10: as cifar10_resnet20v1.py, of pre-activation bottlenecks.

    python -m launch.train --config=configs/cifar10_resnet29v2.py --config.data.dir=DIR

He et al. 2016 train such networks as ResNet-110 with the schedule of their first paper, which is
the one here. It was not run in full; its first epoch is in the README's results.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """The settings."""
    config = cifar10_resnet20v1.get_config()
    config.model.name = "resnet29v2"
    return config
