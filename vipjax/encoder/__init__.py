"""ResNet encoders: networks, preprocessing, the value function, and files of weights."""

from vipjax.encoder.distances import REDUCTIONS, goal_distances, reduce_goals
from vipjax.encoder.heads import HEAD, HEADS, L2, Head
from vipjax.encoder.load import load
from vipjax.encoder.multilinear import Multilinear, init_multilinear, multilinear_values
from vipjax.encoder.preprocess import (
  Preprocessing,
  normalize_levels,
  random_resized_crop,
  resize_center_crop,
)
from vipjax.encoder.resnet import ResNet, ResNetConfig
from vipjax.encoder.value import ValueFunction, compute_dtype, init_value
from vipjax.encoder.weights.artefact import save
from vipjax.encoder.weights.torch_checkpoint import read_vip_checkpoint
from vipjax.encoder.weights.torch_export import export_official

__all__ = [
  "HEAD",
  "HEADS",
  "L2",
  "REDUCTIONS",
  "Head",
  "Multilinear",
  "Preprocessing",
  "ResNet",
  "ResNetConfig",
  "ValueFunction",
  "compute_dtype",
  "export_official",
  "init_multilinear",
  "init_value",
  "goal_distances",
  "load",
  "multilinear_values",
  "normalize_levels",
  "random_resized_crop",
  "read_vip_checkpoint",
  "resize_center_crop",
  "reduce_goals",
  "save",
]
