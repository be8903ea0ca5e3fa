"""Small Inception with an auxiliary head on CIFAR-10; augmented as in cifar10_resnet20v1.py.

    python -m launch.train --config=configs/cifar10_inception_small.py --config.data.dir=DIR

DIR holds the published cifar-10-python.tar.gz or cifar-10-binary.tar.gz, or the extracted folder.
The recipe is this project's own and fits a laptop. Results of the first epoch: configs/README.md.
The larger network of Zhang et al. 2017, which trains for hundreds of epochs, is not reproduced.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    config = cifar10_resnet20v1.get_config()
    config.num_epochs = 30
    config.model.name = "inception_small"
    config.optim = OptimConfig(
        learning_rate=0.2, nesterov=True, weight_decay=5e-4, schedule="one_cycle"
    )
    return config
