"""ResNet-29 v2, with pre-activation bottleneck blocks, otherwise as cifar10_resnet20v1.py.

    python -m launch.train --config=configs/cifar10_resnet29v2.py --config.data.dir=DIR

He et al. 2016 train networks of this kind, such as ResNet-110, with the schedule of their first
paper, which is used here. The result of the first epoch is in the README; there is none of the full
recipe yet.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = cifar10_resnet20v1.get_config()
    config.model.name = "resnet29v2"
    return config
