"""vipjax: a few robot videos become a reward function, and the reward a policy, in JAX."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vipjax import ids

# ruff: noqa: F401 (what editors know of names that come later)
if TYPE_CHECKING:
  from vipjax import encoder, envs, evaluation, finetune, losses, reward, sac, sampling, videos
  from vipjax.encoder import load
  from vipjax.envs import make_env
  from vipjax.reward import EmbeddingRewardVectorWrapper, EmbeddingRewardWrapper, FrameInInfo
  from vipjax.videos import read_video, read_videos

__version__ = "0.1.0"

# Imported on first use: the environments' worker processes must not pay for JAX, nor those who
# only train for MuJoCo and a headless GL library.
_PUBLIC = {
  "EmbeddingRewardVectorWrapper": "vipjax.reward",
  "EmbeddingRewardWrapper": "vipjax.reward",
  "FrameInInfo": "vipjax.reward",
  "load": "vipjax.encoder",
  "make_env": "vipjax.envs",
  "read_video": "vipjax.videos",
  "read_videos": "vipjax.videos",
}
# Those whose names are public.
ROOMS = (
  "encoder", "envs", "evaluation", "finetune", "losses", "reward", "sac", "sampling", "videos",
)  # fmt: skip

__all__ = [*_PUBLIC, *ROOMS]

ids.register()


def __getattr__(name: str) -> Any:
  if name in _PUBLIC:
    return getattr(importlib.import_module(_PUBLIC[name]), name)
  if name in ROOMS:
    return importlib.import_module(f"vipjax.{name}")
  raise AttributeError(f"module 'vipjax' has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted([*globals(), *_PUBLIC, *ROOMS])
