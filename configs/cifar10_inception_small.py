"""A small Inception with an auxiliary head on CIFAR-10.

    python -m launch.train --config=configs/cifar10_inception_small.py --config.data.dir=DIR

DIR holds cifar-10-python.tar.gz or cifar-10-binary.tar.gz as published, or the folder in it. The
recipe is this project's own, for a laptop, and was not run here in full; its first epoch is in the
README's results. The paper of the network's larger kin (Zhang et al. 2017) trains hundreds of
epochs, and was not repeated.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """The settings."""
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
