"""ResNet-50 on ImageNet for 600 epochs: torchvision's recipe of the weights IMAGENET1K_V2.

    python -m launch.train --config=configs/imagenet_resnet50_b.py --config.data.dir=DIR

DIR holds the folders train and val, each with one folder of images per class. Trains on images of
176 pixels and evaluates on 224 of 232 pixels. Published: 80.86 % top-1 accuracy. Not trained here.

Differences: the four copies of an image in a batch share their random crop; the average is updated
in every step, with the decay of torchvision's 32 steps; batch norm statistics are averaged too.

Source: Vryniotis, "How to train state-of-the-art models using TorchVision's latest primitives",
2021, and torchvision's references/classification.
"""

from configs import imagenet_resnet50_a
from jaxml.config import AverageConfig, Config, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    config = imagenet_resnet50_a.get_config()
    config.batch_size = 1024
    config.num_epochs = 600
    config.model = ModelConfig(name="resnet50", dtype="bfloat16")
    config.loss = LossConfig(label_smoothing=0.1)
    config.data.train_image_size = 176
    config.data.center_fraction = 224 / 232
    config.data.augment = (
        "repeat:repeats=4",
        "flip",
        "trivial_augment_wide",
        "random_erasing:probability=0.1",
        "mixup_or_cutmix:mixup_alpha=0.2:cutmix_alpha=1.0",
    )
    config.optim = OptimConfig(
        learning_rate=0.5,
        base_batch_size=1024,
        momentum=0.9,
        weight_decay=2e-5,
        schedule="cosine",
        warmup_epochs=5,
    )
    config.average = AverageConfig(name="ema", decay=0.999966)
    return config
