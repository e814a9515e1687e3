"""The encoder in PyTorch: from pictures to embeddings, the numbers of vipjax's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
# ImageNet's, of colours from 0 to 255.
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Encoder(nn.Module):
  """A ResNet (arXiv:1512.03385) whose tensors have torchvision's names.

  The stride of a bottleneck is on its 3x3 convolution.
  """

  def __init__(self, arch: str, width: int, embedding_dim: int, stem: str):
    super().__init__()
    size = 7 if stem == "imagenet" else 3
    self.conv1, self.bn1 = _convolution(3, width, size, 2), nn.BatchNorm2d(width)
    self.pool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
    channels = width
    for stage, count in enumerate(BLOCKS[arch]):
      layer = nn.Sequential()
      for number in range(count):
        stride = 2 if stage and not number else 1
        layer.append(_Block(channels, width * 2**stage, stride, wide=arch == "resnet50"))
        channels = layer[-1].outputs
      self.add_module(f"layer{stage + 1}", layer)
    self.fc = nn.Linear(channels, embedding_dim)

  def forward(self, x: Tensor) -> Tensor:
    """Normalized pictures [B, 3, H, W] -> embeddings [B, D]."""
    x = self.pool(functional.relu(self.bn1(self.conv1(x))))
    for stage in range(1, 5):
      x = self.get_submodule(f"layer{stage}")(x)
    return self.fc(x.mean(dim=(2, 3)))


class _Block(nn.Module):
  """Two 3x3 convolutions, or, where it is wide, 1x1, 3x3 and 1x1 to four times the channels."""

  def __init__(self, inputs: int, channels: int, stride: int, wide: bool):
    super().__init__()
    self.outputs = 4 * channels if wide else channels
    first = (channels, 1, 1) if wide else (channels, 3, stride)
    second = (channels, 3, stride) if wide else (channels, 3, 1)
    self.steps = []
    before = inputs
    for number, step in enumerate([first, second, (self.outputs, 1, 1)][: 3 if wide else 2], 1):
      self.add_module(f"conv{number}", _convolution(before, *step))
      self.add_module(f"bn{number}", nn.BatchNorm2d(step[0]))
      self.steps.append((f"conv{number}", f"bn{number}"))
      before = step[0]
    same = stride == 1 and inputs == self.outputs
    self.downsample = None if same else nn.Sequential(
      _convolution(inputs, self.outputs, 1, stride), nn.BatchNorm2d(self.outputs)
    )  # fmt: skip

  def forward(self, x: Tensor) -> Tensor:
    y = x
    for number, (convolution, norm) in enumerate(self.steps):
      y = self.get_submodule(convolution)(functional.relu(y) if number else y)
      y = self.get_submodule(norm)(y)
    return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
  return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


def prepare(levels: Tensor, resize: int, crop: int) -> Tensor:
  """Colours 0..255 [B, 3, H, W] -> normalized [B, 3, crop, crop].

  As vipjax does it, which follows PIL: antialiased bilinear, rounded to whole levels after each of
  the two passes, columns first; the longer side is rounded down, the margins as torchvision does.
  """
  height, width = levels.shape[-2:]
  short = min(height, width)
  tall, broad = resize * height // short, resize * width // short
  if (tall, broad) != (height, width):
    levels = _whole(levels @ _triangles(width, broad).to(levels).T)
    levels = _whole(_triangles(height, tall).to(levels) @ levels)
  top, left = round((tall - crop) / 2), round((broad - crop) / 2)
  levels = levels[..., top : top + crop, left : left + crop]
  mean, deviation = (levels.new_tensor(each).view(3, 1, 1) for each in (_MEAN, _DEVIATION))
  return (levels - mean) / deviation


def _whole(levels: Tensor) -> Tensor:
  return (levels + 0.5).floor().clamp(0, 255)


def _triangles(length: int, size: int) -> Tensor:
  """Weights [size, length] that resample a side by triangles, wider where it shrinks."""
  scale = length / size
  centres = (torch.arange(size) + 0.5) * scale
  away = (torch.arange(length) + 0.5 - centres[:, None]).abs()
  weights = (1 - away / max(scale, 1.0)).clamp(min=0)
  return weights / weights.sum(dim=1, keepdim=True)
