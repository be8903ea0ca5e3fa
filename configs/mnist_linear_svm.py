r"""One-vs-rest linear SVMs on the pixels of MNIST, by mini-batch gradient descent.

    python -m launch.train --config=configs/mnist_linear_svm.py --config.data.dir=DIR

DIR contains the four published IDX files, each optionally with .gz. The objective is that of
liblinear and of `sklearn.svm.LinearSVC(loss="hinge", C=C)`, which penalize the intercept too:

.. math:: \frac{1}{2} |w|^2 + C \sum_{i=1}^n \max(0, 1 - s_i f(x_i)).

Divided by C n, it is the mean hinge loss with a weight decay of

.. math:: \lambda = \frac{1}{C n}.

Time and accuracy are in the README's results.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig

C = 1.0
EXAMPLES = 60_000


def get_config() -> Config:
    """Returns the config."""
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
