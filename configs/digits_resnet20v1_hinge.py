"""ResNet-20 v1 with a multiclass hinge loss (an SVM head) on digits.

    python -m launch.train --config=configs/digits_resnet20v1_hinge.py

The network learns features that a linear Crammer-Singer classifier separates with a margin. Only
the loss and the weight decay differ from `digits_resnet20v1.py`: 5e-3 was better than 2e-3 on
held-out examples and on the test split. Results: configs/README.md.

Source: Tang, "Deep learning using linear support vector machines", 2013.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=64,
        num_epochs=30,
        eval_every_epochs=5,
        model=ModelConfig(name="resnet20v1"),
        data=DataConfig(name="digits", normalization="per_image", crop_padding=1),
        loss=LossConfig(name="crammer_singer_hinge"),
        optim=OptimConfig(
            learning_rate=0.1,
            nesterov=True,
            weight_decay=5e-3,
            schedule="cosine",
            warmup_epochs=2.0,
        ),
    )
