r"""A linear support vector machine on MNIST's pixels, one class against the rest, in mini-batches.

    python -m launch.train --config=configs/mnist_linear_svm.py --config.data.dir=DIR

DIR holds train-images-idx3-ubyte and its three siblings, each with or without .gz. The objective of
scikit-learn's `LinearSVC(loss="hinge", C=C)`, whose intercept is penalised too, and of liblinear,

.. math:: \frac{1}{2} |w|^2 + C \sum_{i=1}^n \max(0, 1 - s_i f(x_i)),

divided by C n is the mean hinge that a run minimises, with a weight decay of

.. math:: \lambda = \frac{1}{C n}.

Time and accuracy are in the README's results.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig

C = 1.0
EXAMPLES = 60_000


def get_config() -> Config:
    """The settings."""
    return Config(
        batch_size=125,
        num_epochs=20,
        eval_every_epochs=5,
        steps_per_call=60,
        model=ModelConfig(name="linear"),
        data=DataConfig(name="mnist", normalization="unit"),
        loss=LossConfig(name="one_vs_rest_hinge"),
        optim=OptimConfig(
            learning_rate=0.1,
            momentum=0.9,
            weight_decay=1 / (C * EXAMPLES),
            schedule="cosine",
        ),
    )
