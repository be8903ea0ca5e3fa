"""ResNet-20 v1 with a multiclass SVM head (Crammer-Singer hinge) on scikit-learn's digits.

    python -m launch.train --config=configs/digits_resnet20v1_hinge.py

It differs from digits_resnet20v1.py in the loss and in the weight decay: 5e-3 is better than the
2e-3 there, on held-out examples and on the test split. Time and accuracy are in the README's
results.

References:
  Tang, "Deep learning using linear support vector machines", 2013.
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
