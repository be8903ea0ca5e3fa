"""ResNet-50 on ImageNet for 90 epochs: the recipe of Goyal et al. 2017.

    python -m launch.train --config=configs/imagenet_resnet50_a.py --config.data.dir=DIR

DIR holds the folders train and val, each with one folder of images per class. The learning rate
scales with the batch size: 0.1 for 256 images, after 5 epochs of warm-up, divided by 10 after 30,
60 and 80 epochs. Published: 76.4 % top-1 accuracy with 8,192 images per step. Not trained here.

Differences: the paper warms up from the rate of a batch of 256, this recipe from 0; and the paper
also augments the colors.

Source: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017.
"""

from jaxml.config import Config, DataConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=256,
        num_epochs=90,
        eval_batch_size=256,
        model=ModelConfig(name="resnet50", zero_init=True, dtype="bfloat16"),
        data=DataConfig(
            name="folder",
            normalization="per_channel",
            image_size=224,
            center_fraction=0.875,
            smallest_crop=0.08,
            augment=("flip",),
        ),
        optim=OptimConfig(
            learning_rate=0.1,
            base_batch_size=256,
            momentum=0.9,
            nesterov=True,
            weight_decay=1e-4,
            schedule="step",
            warmup_epochs=5,
            step_boundaries=(30 / 90, 60 / 90, 80 / 90),
        ),
    )
