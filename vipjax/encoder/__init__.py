"""Encoders: ResNets, preprocessing, the value function and where weights come from."""

from vipjax.encoder.preprocess import (
  Preprocessing,
  device_resize,
  normalize,
  normalize_levels,
  random_resized_crop,
  resize_center_crop,
)
from vipjax.encoder.resnet import ResNet, ResNetConfig
from vipjax.encoder.value import ValueFunction, compute_dtype, embed_function, init_value

__all__ = [
  "Preprocessing",
  "ResNet",
  "ResNetConfig",
  "ValueFunction",
  "compute_dtype",
  "device_resize",
  "embed_function",
  "init_value",
  "normalize",
  "normalize_levels",
  "random_resized_crop",
  "resize_center_crop",
]
