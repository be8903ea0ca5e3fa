"""SpeedNet on CIFAR-10: a speed run of 10 epochs with Muon.

    python -m launch.train --config=configs/cifar10_speed_net.py --config.data.dir=DIR

DIR holds the published cifar-10-python.tar.gz or cifar-10-binary.tar.gz, or the extracted folder.
As in the published run, a fixed first layer whitens patches of 2x2 pixels, images are flipped in
every other epoch, and labels are smoothed. The test averages an image and its mirror image; that of
the published run also translates them. The optimizer, the schedule and the batch size are this
project's own. Results: configs/README.md.

Reference: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=500,
        num_epochs=10,
        eval_flip=True,
        model=ModelConfig(name="speed_net"),
        data=DataConfig(
            name="cifar10",
            normalization="patch_pca",
            augment=("crop:padding=2:mode=reflect", "alternating_flip"),
        ),
        loss=LossConfig(label_smoothing=0.2),
        optim=OptimConfig(
            name="muon",
            learning_rate=0.04,
            momentum=0.9,
            nesterov=True,
            weight_decay=0.05,
            warmup_epochs=2,
            schedule="polynomial",
        ),
    )
