"""Inception v3 on ImageNet for 100 epochs: the recipe of Szegedy et al. 2015.

    python -m launch.train --config=configs/imagenet_inception_v3.py --config.data.dir=DIR

DIR holds the folders train and val, each with one folder of images per class. The learning rate of
RMSProp falls by 6 % every two epochs, here in every step. Published: 78.8 % top-1 accuracy, with
label smoothing and auxiliary heads. Not trained here.

Differences: the paper's 50 machines update with 32 images each, without waiting for one another;
here a step has their 1,600 images.

Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015.
"""

from configs import imagenet_resnet50_a
from jaxml.config import AverageConfig, Config, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    config = imagenet_resnet50_a.get_config()
    config.batch_size = 1600
    config.num_epochs = 100
    config.model = ModelConfig(name="inception_v3", dtype="bfloat16")
    config.loss = LossConfig(label_smoothing=0.1, auxiliary_weight=0.4)
    config.data.image_size = 299
    config.data.augment = ("flip", "color_jitter:brightness=0.125:saturation=0.5")
    config.optim = OptimConfig(
        name="rmsprop",
        learning_rate=0.045,
        beta2=0.9,
        epsilon=1.0,
        weight_decay=4e-5,
        clip_norm=2.0,
        schedule="exponential",
        end_factor=0.94**50,
    )
    config.average = AverageConfig(name="ema", decay=0.9999)
    return config
