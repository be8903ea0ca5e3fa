"""The config of a run: a typed tree of settings, with checks, parsing and JSON."""

from jaxml.config._checks import check, check_name, fields, is_optional, rule
from jaxml.config._data import DataConfig
from jaxml.config._devices import CpuConfig, MeshConfig
from jaxml.config._json import (
    assign,
    describe,
    differences,
    from_json,
    from_tree,
    to_json,
    value,
)
from jaxml.config._node import LARGEST_INT
from jaxml.config._parsing import parse_steps, user_path
from jaxml.config._records import CheckpointConfig, LogConfig
from jaxml.config._tree import (
    AverageConfig,
    Config,
    LossConfig,
    ModelConfig,
    OptimConfig,
    WeightsConfig,
)

__all__ = [
    "LARGEST_INT",
    "AverageConfig",
    "CheckpointConfig",
    "Config",
    "CpuConfig",
    "DataConfig",
    "LogConfig",
    "LossConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimConfig",
    "WeightsConfig",
    "assign",
    "check",
    "check_name",
    "describe",
    "differences",
    "fields",
    "from_json",
    "from_tree",
    "is_optional",
    "parse_steps",
    "rule",
    "to_json",
    "user_path",
    "value",
]
