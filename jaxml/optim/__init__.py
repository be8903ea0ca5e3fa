"""Optimizers, learning rate schedules, parameter averaging and frozen parameters.

This package adds to optax. Functions that share a name with optax share its arguments and
semantics, and their docstrings state the differences. `create_optimizer`, `create_schedule` and
`create_averaging` are the only functions that read a config.
"""

from jaxml.optim._averaging import (
    Average,
    Averaging,
    ema_averaging,
    lookahead_averaging,
    no_averaging,
    swa_averaging,
)
from jaxml.optim._clipping import adaptive_grad_clip, clip_by_global_norm
from jaxml.optim._create import (
    OPTIMIZERS,
    SCHEDULES,
    create_averaging,
    create_optimizer,
    create_schedule,
    scale_learning_rate,
)
from jaxml.optim._freezing import check_pattern, is_frozen, keep_frozen
from jaxml.optim._optimizers import (
    averaged_momentum,
    decay_mask,
    lamb,
    lars,
    normalize,
    scale_by_trust_ratio,
)
from jaxml.optim._schedules import inverse_sqrt_schedule, inverse_time_schedule

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Average",
    "Averaging",
    "adaptive_grad_clip",
    "averaged_momentum",
    "check_pattern",
    "clip_by_global_norm",
    "create_averaging",
    "create_optimizer",
    "create_schedule",
    "decay_mask",
    "ema_averaging",
    "inverse_sqrt_schedule",
    "inverse_time_schedule",
    "is_frozen",
    "keep_frozen",
    "lamb",
    "lars",
    "lookahead_averaging",
    "no_averaging",
    "normalize",
    "scale_by_trust_ratio",
    "scale_learning_rate",
    "swa_averaging",
]
