"""All settings of a run, with their defaults, help texts and allowed values.

None means unset: the setting has no effect, or the value is chosen as its help text says.
"""

import dataclasses

from jaxml.config._data import DataConfig
from jaxml.config._devices import CpuConfig, MeshConfig
from jaxml.config._node import LARGEST_INT, Settings, setting
from jaxml.config._records import CheckpointConfig, LogConfig


@dataclasses.dataclass
class ModelConfig(Settings):
    """The network. None keeps the network's own default."""

    name: str = setting("resnet20v1", "Network architecture, one of jaxml.models.MODELS.")
    shortcut: str | None = setting(
        None,
        "Shortcut of a residual block that changes shape: zero_pad has no parameters, projection "
        "is a 1x1 convolution with batch norm, bare_projection is one without.",
        choices=("zero_pad", "projection", "bare_projection"),
    )
    hidden_features: tuple[int, ...] | None = setting(
        None, "Number of units of each hidden layer of an mlp.", low=1, high=LARGEST_INT
    )
    activation: str | None = setting(
        None, "Activation function of an mlp, one of jaxml.activations.ACTIVATIONS."
    )
    head: str | None = setting(
        None,
        "Head of the network: fc is a dense layer on all pixels, gap and gmp apply global average "
        "or global max pooling before it.",
        choices=("fc", "gap", "gmp"),
    )
    keep_prob: float | None = setting(
        None, "Probability that dropout before the head keeps a feature.", above=0, high=1
    )
    survival_prob: float | None = setting(
        None,
        "Stochastic depth: survival probability of the last residual block, which decays linearly "
        "with depth.",
        above=0,
        high=1,
    )
    zero_init: bool = setting(False, "Initializes residual blocks to the identity.")
    auxiliary: bool = setting(
        True, "Builds the auxiliary heads of a network that has them for training."
    )
    batch_norm_groups: int | None = setting(
        None,
        "Number of equal groups of consecutive examples of a batch that batch norm normalizes "
        "separately, like as many replicas, whatever the number of devices; None normalizes over "
        "the whole batch.",
        low=1,
    )
    remat: bool = setting(
        False, "Rematerializes each block in the backward pass, which saves memory."
    )
    scan: bool = setting(
        False,
        "Runs identical consecutive blocks as one loop, which saves compile time and leaves "
        "parameters and results unchanged.",
    )
    dtype: str = setting(
        "float32",
        "Dtype of the computation; parameters and statistics are always float32.",
        choices=("float32", "bfloat16"),
    )


@dataclasses.dataclass
class WeightsConfig(Settings):
    """Initial weights from a file, and parameters that are not trained."""

    file: str | None = setting(
        None,
        "File with the initial weights (.safetensors, .pth, .h5 or .keras, with the names of "
        "torchvision, timm, Keras or jaxml); None initializes at random.",
    )
    entry: str | None = setting(
        None,
        "Dictionary of a .pth file that holds the weights, such as model_ema, or prefix of the "
        "names in the file; None takes the only dictionary, or else state_dict, "
        "model_state_dict or model.",
    )
    new_head: bool = setting(
        False, "Initializes the head at random, for another number of classes."
    )
    freeze: str | None = setting(
        None,
        "Regular expression, such as 'stem|stage[12]/', that matches the start of the paths of "
        "the parameters that stay fixed, along with the batch norm statistics there.",
    )


@dataclasses.dataclass
class LossConfig(Settings):
    """The objective: the mean loss over a batch plus penalties."""

    name: str = setting("softmax_cross_entropy", "Loss function, one of jaxml.losses.LOSSES.")
    label_smoothing: float = setting(
        0.0,
        "Probability mass that the cross-entropy losses spread evenly over all classes.",
        low=0,
        below=1,
    )
    class_weights: tuple[float, ...] = setting(
        (), "Weight of each class in the cross-entropy losses; () weights all by 1.", low=0
    )
    balance_classes: bool = setting(
        False,
        "Weights class c in the cross-entropy losses by n / (classes * n_c) for n_c of n training "
        "examples, in addition to class_weights.",
    )
    squared: bool = setting(False, "Squares the hinge of the multiclass hinge losses.")
    auxiliary_weight: float = setting(0.3, "Weight of the loss of each auxiliary head.", low=0)
    l1: float = setting(
        0.0, "Penalty parameter lambda of lambda * sum |w| over the kernels.", low=0
    )
    l2: float = setting(
        0.0, "Penalty parameter lambda of lambda * sum w^2 over the kernels.", low=0
    )


@dataclasses.dataclass
class OptimConfig(Settings):
    """The optimizer and its learning rate schedule."""

    name: str = setting(
        "sgd",
        "Optimizer, as in optax; averaged_momentum is sgd on a bias-corrected exponential moving "
        "average of the gradients.",
        choices=(
            "sgd",
            "averaged_momentum",
            "rmsprop",
            "adam",
            "adamw",
            "adagrad",
            "lars",
            "lamb",
            "muon",
        ),
    )
    learning_rate: float = setting(0.1, "Peak learning rate.", above=0)
    base_batch_size: int | None = setting(
        None,
        "Multiplies the learning rate by batch_size * accumulate_steps / base_batch_size; None "
        "keeps it.",
        low=1,
    )
    momentum: float = setting(
        0.9, "Momentum coefficient of sgd, averaged_momentum, lars and muon.", low=0, below=1
    )
    nesterov: bool = setting(False, "Uses Nesterov momentum in sgd, adam, adamw, lars and muon.")
    beta1: float = setting(
        0.9,
        "Decay rate of the first moment of adam, adamw, lamb and the adamw part of muon.",
        low=0,
        below=1,
    )
    beta2: float = setting(
        0.999,
        "Decay rate of the second moment of rmsprop, adam, adamw, lamb and the adamw part of muon.",
        low=0,
        below=1,
    )
    epsilon: float = setting(
        1e-8,
        "Constant added to the denominator of rmsprop, adam, adamw, lamb and muon, and inside the "
        "square root of adagrad.",
        above=0,
    )
    weight_decay: float = setting(
        1e-4,
        "Weight decay lambda of the kernels: adds lambda/2 * |w|^2 to the loss, except that adamw, "
        "lamb and muon decouple it from the gradient.",
        low=0,
    )
    clip_value: float | None = setting(
        None, "Clips each entry of the gradient to this magnitude.", above=0
    )
    clip_norm: float | None = setting(
        None, "Clips the global norm of the gradient to this value.", above=0
    )
    clip_adaptive: float | None = setting(
        None,
        "Clips the gradient norm of each unit to this fraction of the norm of its weights.",
        above=0,
    )
    max_norm: float | None = setting(
        None,
        "Upper bound on the norm of the incoming weights of each unit; projects after each step.",
        above=0,
    )
    accumulate_steps: int = setting(
        1,
        "Number of micro-batches accumulated per update; an incomplete last group makes no update.",
        low=1,
    )
    on_nonfinite: str = setting(
        "stop",
        "Action when a loss, a gradient or an updated value is not finite: stop ends the run; skip "
        "leaves everything but the step number unchanged, also the position in the schedule.",
        choices=("stop", "skip"),
    )
    max_skips: int = setting(
        10,
        "Largest number of consecutive steps that on_nonfinite=skip skips; the next step that is "
        "not finite stops the run.",
        low=1,
        high=LARGEST_INT,
        resume="any",
    )
    sharpness_radius: float | None = setting(
        None, "Radius rho of sharpness-aware minimization, which doubles the cost.", above=0
    )
    schedule: str = setting(
        "step",
        "Learning rate schedule: step multiplies by step_factor at step_boundaries; cosine, "
        "polynomial and exponential decay to end_factor; one_cycle rises and falls; inverse_sqrt "
        "and inverse_time decay without end; constant stays at the peak.",
        choices=(
            "step",
            "cosine",
            "constant",
            "exponential",
            "polynomial",
            "inverse_sqrt",
            "inverse_time",
            "one_cycle",
        ),
    )
    warmup_epochs: float = setting(
        0.0, "Number of epochs of linear warm-up from 0 to the peak.", low=0
    )
    step_boundaries: tuple[float, ...] = setting(
        (0.5, 0.75),
        "Step schedule: boundaries as fractions of the run.",
        low=0,
        high=1,
    )
    step_factor: float = setting(
        0.1, "Step schedule: factor applied at each boundary.", above=0, high=1
    )
    end_factor: float = setting(
        0.0,
        "Cosine, polynomial and exponential schedules: final learning rate as a fraction of the "
        "peak.",
        low=0,
        high=1,
    )
    power: float = setting(1.0, "Polynomial schedule: exponent of the decay; 1 is linear.", above=0)


@dataclasses.dataclass
class AverageConfig(Settings):
    """The average of the parameters that is evaluated instead of the parameters."""

    name: str | None = setting(
        None,
        "Parameter averaging: ema is an exponential moving average; swa is the mean over the ends "
        "of the last epochs, with recomputed batch norm statistics; lookahead evaluates the slow "
        "weights.",
        choices=("ema", "swa", "lookahead"),
    )
    decay: float = setting(0.999, "EMA: decay rate.", low=0, below=1)
    start: float = setting(0.75, "SWA: fraction of the run before averaging starts.", low=0, high=1)
    sync_period: int = setting(5, "Lookahead: synchronization period in updates.", low=1)
    slow_step_size: float = setting(
        0.5, "Lookahead: step size of the slow weights.", above=0, high=1
    )


@dataclasses.dataclass
class Config(Settings):
    """The config of a run.

    On one CPU, equal configs give bitwise equal parameters. On a GPU this requires
    XLA_FLAGS=--xla_gpu_deterministic_ops=true.
    """

    seed: int = setting(
        0,
        "Seed of the initial parameters, the data order and the augmentation.",
        low=0,
        high=2**32 - 1,
    )
    num_seeds: int = setting(
        1,
        "Number of models to train, with seed, seed + 1, ..., each in a folder seed_K of the "
        "workdir, with the spread of their metrics.",
        low=1,
    )
    batch_size: int | None = setting(
        128,
        "Number of examples per step over all devices; None takes the whole training set.",
        low=1,
    )
    num_epochs: int = setting(
        30,
        "Number of passes over the training set, each of floor(examples / batch_size) steps. A run "
        "that resumes with a larger number follows the schedule of the new length.",
        low=1,
        resume="raised",
    )
    eval_every_epochs: int = setting(
        1,
        "Number of epochs between evaluations; the last epoch is always evaluated.",
        low=1,
        resume="any",
    )
    patience: int | None = setting(
        None,
        "Early stopping: number of evaluations without an improvement of the accuracy, or else the "
        "loss, after which the run ends; None trains for num_epochs.",
        low=1,
        resume="any",
    )
    eval_batch_size: int = setting(
        512, "Number of examples per step of the evaluation.", low=1, resume="any"
    )
    eval_flip: bool = setting(
        False,
        "Averages the outputs for each evaluated image and its mirror image.",
        resume="any",
    )
    steps_per_call: int | None = setting(
        None,
        "Number of training steps per compiled call. None takes a whole epoch, or on a CPU, where "
        "XLA's convolution gradients are slow inside a loop, one step.",
        low=1,
    )
    profile: str | None = setting(
        None,
        "Training steps to profile as a half-open range counted from 0: 10:20 is 10 to 19. The "
        "trace is saved in the workdir and a summary is printed.",
        steps=True,
        resume="any",
    )
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    weights: WeightsConfig = dataclasses.field(default_factory=WeightsConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    average: AverageConfig = dataclasses.field(default_factory=AverageConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    cpu: CpuConfig = dataclasses.field(default_factory=CpuConfig)
