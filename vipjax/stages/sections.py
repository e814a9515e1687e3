"""The sections of a config: each key is a field of exactly one dataclass, which gives its type.

The keys of a part of the library are the fields of its settings. What the stages read themselves is
declared here; configs/paper.py gives the values and says what they mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from vipjax.encoder import ResNetConfig
from vipjax.finetune.robot_free import RobotFreeSettings
from vipjax.finetune.settings import IntentSettings, ProgressSettings, Settings, TccSettings
from vipjax.reward import RewardSettings
from vipjax.runtime import ranges
from vipjax.runtime.settings import check_section
from vipjax.sac.agent import SacSettings
from vipjax.sac.critic import CriticSettings
from vipjax.sac.exploration import ExplorationSettings
from vipjax.sac.online_settings import OnlineSettings
from vipjax.sac.rollout import LoopSettings
from vipjax.sampling import Sampler


@dataclasses.dataclass(frozen=True)
class EnvSection:
  task: str
  robot: str
  control: str
  horizon: int
  placement: int
  joint_noise: float


@dataclasses.dataclass(frozen=True)
class RecordSection:
  size: int
  quality: str
  episodes: int
  robot_free: bool
  hold: int
  retreat: int
  frame_stride: int
  format: str
  random_episodes: int


@dataclasses.dataclass(frozen=True)
class DataSection:
  path: str
  view: str
  episodes: str
  task: str
  success: bool
  fps: float
  frame_stride: int
  resident_mb: int
  cache_mb: int
  size: int


@dataclasses.dataclass(frozen=True)
class EncoderSection:
  init: str
  head: str
  head_layer_norm: bool
  name: str
  licence: str
  init_scale: float
  size: int
  resize: int


@dataclasses.dataclass(frozen=True)
class FinetuneSection:
  steps: int
  decay: bool
  teachers: tuple[str, ...]
  checkpoint_every: int
  artefact: str
  max_skipped: int
  check_replicas: bool


@dataclasses.dataclass(frozen=True)
class CompositesSection:
  fixed_arms: int
  detours: int
  threshold: int


@dataclasses.dataclass(frozen=True)
class RobotFreeSection:
  random_episodes: int


@dataclasses.dataclass(frozen=True)
class EvaluateSection:
  unseen_episodes: int
  view_shift: float
  robots: tuple[str, ...]
  failed_episodes: int
  attention_episodes: int
  off_path_episodes: int


@dataclasses.dataclass(frozen=True)
class PolicySection:
  steps: int
  seeds: int
  num_envs: int
  drawing: str
  backend: str
  scene: str
  input: str
  action_repeat: int
  replay_capacity: int
  views: tuple[str, ...]
  eval_every: int
  eval_episodes: int
  final_episodes: int
  checkpoint_every: int
  max_skipped: int
  check_replicas: bool


@dataclasses.dataclass(frozen=True)
class RewardSection:
  goal: str
  plain_weight: float
  robot_free_weight: float


# By a section's name, the dataclasses of its keys.
SECTIONS: dict[str, tuple[type, ...]] = {
  "env": (EnvSection,),
  "record": (RecordSection,),
  "data": (DataSection,),
  "encoder": (EncoderSection, ResNetConfig),
  "finetune": (FinetuneSection, Settings),
  "finetune.composites": (CompositesSection,),
  "finetune.sampler": (Sampler,),
  "finetune.tcc": (TccSettings,),
  "finetune.intents": (IntentSettings,),
  "finetune.progress": (ProgressSettings,),
  "robot_free": (RobotFreeSection, RobotFreeSettings),
  "evaluate": (EvaluateSection,),
  "policy": (PolicySection, SacSettings, LoopSettings),
  "policy.critic": (CriticSettings,),
  "policy.exploration": (ExplorationSettings,),
  "policy.online": (OnlineSettings,),
  "reward": (RewardSection, RewardSettings),
}
# Fields that are computed, or keys of another section.
_COMPUTED = {
  "finetune": ("decay_steps", "anneal_steps", "made_videos"), "reward": ("discount",),
}  # fmt: skip


def declared() -> Iterator[tuple[str, type, list[str]]]:
  """Yields each section's name, one of its dataclasses, and the keys which that declares."""
  for name, kinds in SECTIONS.items():
    for kind in kinds:
      fields = [field.name for field in dataclasses.fields(kind)]
      left_out = {*_COMPUTED.get(name, ()), *(key for key in fields if f"{name}.{key}" in SECTIONS)}
      yield name, kind, [key for key in fields if key not in left_out]


def check_config(config: Mapping[str, Any]) -> None:
  """Raises UserError where a config lacks a declared key, or has another type or range for it.

  None passes for any type: `fit_to_task` may still choose the value, and `from_section` checks it
  again.
  """
  for name, kind, keys in declared():
    section = config
    for part in name.split("."):
      section = section.get(part, {})
    check_section(kind, section, name, [key for key in keys if section.get(key, "") is not None])
  ranges.check("", config)
