"""The reward model: distances of a batch's pictures to the goal in the encoder's embedding."""

from __future__ import annotations

import os
from typing import Any

import torch
from lerobot.rewards import PreTrainedRewardModel
from torch import Tensor

from lerobot_policy_vipjax.configuration_vipjax import VipjaxConfig
from lerobot_policy_vipjax.network import Encoder, prepare


class VipjaxRewardModel(PreTrainedRewardModel):
  """V(o, g) = -||phi(o) - phi(g)||_2 (VIP, arXiv:2210.00030) and what is paid by it.

  `config.form` chooses what `compute_reward` returns. It is trained by vipjax, not by LeRobot.

  Attributes:
    encoder: phi.
    goals: float32 [G, D], the goals' embeddings; nan where no weights were loaded.
  """

  config_class = VipjaxConfig
  name = "vipjax"

  def __init__(self, config: VipjaxConfig, **_: Any):
    super().__init__(config)
    self.encoder = Encoder(config.arch, config.width, config.embedding_dim, config.stem)
    goals = torch.full((config.num_goals, config.embedding_dim), torch.nan)
    self.register_buffer("goals", goals)
    self.eval()

  @classmethod
  def from_pretrained(
    cls, pretrained_name_or_path: str | os.PathLike[str], *, strict: bool = True, **options: Any
  ) -> VipjaxRewardModel:
    """As LeRobot's, but weights that are missing or left over are an error."""
    return super().from_pretrained(pretrained_name_or_path, strict=strict, **options)

  @torch.no_grad()
  def set_goals(self, pictures: Tensor) -> None:
    """Takes other goals, such as last pictures of episodes; `save_pretrained` keeps them.

    Pictures that LeRobot decodes are about a level darker than vipjax's, so that goals of its own
    decoder fit its batches best.

    Args:
      pictures: [G, 3, H, W], as those of `compute_reward`; the nearest counts.

    Raises:
      ValueError: other shapes or colours.
    """
    self.goals = self._embed(self._clips({self.config.image_key: pictures})[:, -1])
    self.config.num_goals = len(self.goals)

  @torch.no_grad()
  def compute_reward(self, batch: dict[str, Tensor]) -> Tensor:
    """Returns the reward of each sample, float32 [B].

    Args:
      batch: under `config.image_key` pictures [B, 3, H, W], or clips [B, T, 3, H, W] in order of
        time, RGB: uint8, or float from 0 to 1 as LeRobot's data sets give them.

    Raises:
      ValueError: no weights, no such camera, other shapes or colours, or a single picture where
        the form needs two.
    """
    form = self.config.form
    if not torch.isfinite(self.goals).all():
      raise ValueError(
        "expected a reward model with weights and goals, got one without; give the folder that "
        "vipjax's launch.convert_weights wrote as pretrained_path."
      )
    clips = self._clips(batch)
    if clips.shape[1] < 2 and form != "value":
      raise ValueError(
        f"expected at least two pictures of each sample for the form {form!r}, got one; let the "
        "data set give them by delta_timestamps, or take the form 'value'."
      )
    wanted = {"value": [-1], "difference": [-2, -1], "progress": [0, -1]}[form]
    distances = self._distances(clips[:, wanted])
    last = distances[:, -1]
    if form == "value":
      return -last
    if form == "difference":
      return distances[:, 0] - last
    return (1 - last / distances[:, 0].clamp(min=1e-9)).clamp(0, 1)

  def _clips(self, batch: dict[str, Tensor]) -> Tensor:
    """Colours 0..255, float32 [B, T, 3, H, W]."""
    key = self.config.image_key
    if key not in batch:
      cameras = sorted(name for name in batch if "image" in name)
      raise ValueError(
        f"expected pictures under {key!r} in the batch, got {', '.join(cameras) or 'none'}; set "
        "image_key."
      )
    pictures = batch[key]
    if pictures.ndim not in (4, 5) or pictures.shape[-3] != 3 or not len(pictures):
      raise ValueError(
        f"expected pictures [B, 3, H, W] or clips [B, T, 3, H, W] under {key!r}, got "
        f"{list(pictures.shape)}; pass RGB with the colours before height and width."
      )
    levels = pictures.to(self.goals)
    if pictures.dtype != torch.uint8:
      low, high = pictures.aminmax()
      if not (low >= 0 and high <= 1):
        raise ValueError(
          f"expected colours from 0 to 1, or uint8, under {key!r}, got {low:.3g} to {high:.3g}; "
          "leave out what normalizes them."
        )
      levels = (255 * levels).round()
    return levels if levels.ndim == 5 else levels[:, None]

  def _distances(self, clips: Tensor) -> Tensor:
    """Of each picture [B, T, 3, H, W] the distance to the nearest goal, [B, T]."""
    embeddings = self._embed(clips.flatten(0, 1))
    away = torch.linalg.vector_norm(embeddings[:, None] - self.goals, dim=-1)
    return away.amin(dim=1).view(clips.shape[:2])

  def _embed(self, levels: Tensor) -> Tensor:
    """Colours 0..255 [N, 3, H, W] -> embeddings [N, D]."""
    return self.encoder(prepare(levels, self.config.resize, self.config.crop))
