"""ResNet-29 v2 (pre-activation bottlenecks) on CIFAR-10, trained as in cifar10_resnet20v1.py.

    python -m launch.train --config=configs/cifar10_resnet29v2.py --config.data.dir=DIR

He et al. 2016 train such networks with the schedule of their first paper, which is used here.
Results of the first epoch: configs/README.md. The full recipe has not been measured.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = cifar10_resnet20v1.get_config()
    config.model.name = "resnet29v2"
    return config
