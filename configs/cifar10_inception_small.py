"""A small Inception network with an auxiliary head on CIFAR-10.

    python -m launch.train --config=configs/cifar10_inception_small.py --config.data.dir=DIR

DIR contains cifar-10-python.tar.gz or cifar-10-binary.tar.gz as published, or the extracted folder.
The recipe is our own and sized for a laptop. It does not reproduce Zhang et al. 2017, who train
larger networks of this kind for hundreds of epochs. The result of the first epoch is in the README;
there is none of the full recipe yet.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=128,
        num_epochs=30,
        model=ModelConfig(name="inception_small"),
        data=DataConfig(name="cifar10", normalization="per_channel", crop_padding=4, flip=True),
        loss=LossConfig(auxiliary_weight=0.3),
        optim=OptimConfig(
            learning_rate=0.2,
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
            schedule="one_cycle",
        ),
    )
