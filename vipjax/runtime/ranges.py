"""The allowed range of every number of a config, checked before any work.

The keys are those of the files in configs/; a test checks that none of their numbers is missing
here. Some keys whose values are a choice of words are here too.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vipjax.runtime.errors import UserError


class Range(NamedTuple):
  """A set of allowed values: its description, which follows a key's name, and a membership test."""

  words: str
  holds: Callable[[Any], bool]


def _real(words: str, holds: Callable[[Any], bool] = lambda x: True) -> Range:
  def checked(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value) and holds(value)

  return Range(words, checked)


def _whole(least: int) -> Range:
  words = f"of at least {least} (a whole number)"
  return _real(words, lambda x: isinstance(x, numbers.Integral) and x >= least)


def _tuple(words: str, holds: Callable[[Any], bool]) -> Range:
  return Range(words, lambda values: isinstance(values, tuple | list) and holds(values))


def _items(words: str, item: Range, least: int = 1) -> Range:
  return _tuple(words, lambda x: len(x) >= least and all(map(item.holds, x)))


def _pair(
  words: str, item: Range, holds: Callable[[Any, Any], bool] = lambda a, b: a <= b
) -> Range:
  return _tuple(
    f"of two {words}, the lesser first",
    lambda x: len(x) == 2 and all(map(item.holds, x)) and holds(*x),
  )


def _words(*words: str) -> Range:
  quoted = [repr(word) for word in words]
  return Range(f"{', '.join(quoted[:-1])} or {quoted[-1]}", lambda x: x in words)


def _or_none(known: Range) -> Range:
  return Range(f"{known.words}, or None", lambda x: x is None or known.holds(x))


_ANY = _real("that is finite")
_POSITIVE = _real("above 0 and finite", lambda x: x > 0)
_FROM_0 = _real("of at least 0 and finite", lambda x: x >= 0)
_SHARE = _real("from 0 to 1", lambda x: 0 <= x <= 1)
_PART = _real("above 0, at most 1", lambda x: 0 < x <= 1)
_SEEDS = _items("of whole numbers of at least 0", _whole(0), least=0)
_STEPS = _pair("different whole numbers of at least 0", _whole(0), lambda a, b: a < b)

RANGES = {
  "expect.*": _ANY,
  "seed": _whole(0),
  "env.horizon": _or_none(_whole(1)),
  "env.placement": _whole(-1),
  "env.joint_noise": _FROM_0,
  "views.*.lookat": _or_none(
    _tuple("of three finite numbers", lambda x: len(x) == 3 and all(map(_ANY.holds, x)))
  ),
  "views.*.azimuth": _or_none(_ANY),
  "views.*.elevation": _or_none(_ANY),
  "views.*.distance": _or_none(_POSITIVE),
  "record.size": _whole(1),
  "record.episodes": _whole(1),
  "record.hold": _or_none(_whole(0)),
  "record.retreat": _whole(0),
  "record.frame_stride": _whole(1),
  "record.format": _words("mp4", "frames", "tfds", "lerobot"),
  "record.random_episodes": _whole(0),
  "data.fps": _FROM_0,
  "data.frame_stride": _whole(1),
  "data.resident_mb": _whole(0),
  "data.cache_mb": _whole(0),
  "data.size": _whole(0),
  "encoder.head": _words("l2", "icvf", "mrn"),
  "encoder.width": _whole(1),
  "encoder.embedding_dim": _whole(1),
  "encoder.init_scale": _POSITIVE,
  "encoder.size": _whole(1),
  "encoder.resize": _whole(1),
  "finetune.steps": _or_none(_whole(1)),
  "finetune.batch_size": _whole(1),
  "finetune.loss": _words("vip", "triplet", "distillation", "expectile", "icvf"),
  "finetune.artefact": _words("last", "best"),
  "finetune.learning_rate": _or_none(_POSITIVE),
  "finetune.head_learning_rate": _FROM_0,
  "finetune.discount": _SHARE,
  "finetune.num_negatives": _whole(0),
  "finetune.last_goal": _SHARE,
  "finetune.l1_weight": _FROM_0,
  "finetune.l2_weight": _FROM_0,
  "finetune.expectile": _real("between 0 and 1", lambda x: 0 < x < 1),
  "finetune.target_rate": _PART,
  "finetune.intents.current": _SHARE,
  "finetune.intents.future": _SHARE,
  "finetune.intents.same": _SHARE,
  "finetune.crop_scale": _pair("numbers above 0, at most 1", _PART),
  "finetune.then_resize": _whole(0),
  "finetune.background_clips": _whole(0),
  "finetune.composites.fixed_arms": _whole(0),
  "finetune.composites.detours": _whole(0),
  "finetune.composites.threshold": _real(
    "from 0 to 255 (a whole number)", lambda x: isinstance(x, numbers.Integral) and 0 <= x <= 255
  ),
  "finetune.checkpoint_every": _whole(1),
  "finetune.max_skipped": _whole(1),
  "finetune.sampler.rate": _POSITIVE,
  "finetune.sampler.a": _POSITIVE,
  "finetune.sampler.b": _POSITIVE,
  "finetune.sampler.bins": _whole(1),
  "finetune.sampler.alpha": _SHARE,
  "finetune.sampler.beta": _SHARE,
  "finetune.sampler.final_beta": _SHARE,
  "finetune.sampler.floor": _PART,
  "finetune.sampler.momentum": _real("from 0 to less than 1", lambda x: 0 <= x < 1),
  "finetune.tcc.weight": _FROM_0,
  "finetune.tcc.num_cycles": _whole(0),
  "finetune.tcc.videos_per_cycle": _whole(2),
  "finetune.tcc.frames": _whole(2),
  "finetune.tcc.temperature": _POSITIVE,
  "finetune.tcc.temperature_unit": _words("absolute", "mean_squared_distance"),
  "finetune.progress.weight": _FROM_0,
  "finetune.progress.pairs": _whole(1),
  "robot_free.members": _whole(1),
  "robot_free.steps": _whole(1),
  "robot_free.batch_size": _whole(1),
  "robot_free.learning_rate": _POSITIVE,
  "robot_free.random_episodes": _whole(0),
  "evaluate.unseen_episodes": _whole(0),
  "evaluate.view_shift": _ANY,
  "evaluate.failed_episodes": _whole(0),
  "evaluate.attention_episodes": _whole(0),
  "evaluate.off_path_episodes": _whole(0),
  "policy.steps": _or_none(_whole(1)),
  "policy.seeds": _whole(1),
  "policy.num_envs": _whole(1),
  "policy.drawing": _words("auto", "workers", "one_process"),
  "policy.backend": _words("mujoco", "warp"),
  "policy.input": _words("state", "frame"),
  "policy.action_repeat": _whole(1),
  "policy.hidden": _items("of one or more whole numbers of at least 1", _whole(1)),
  "policy.batch_size": _whole(1),
  "policy.discount": _or_none(_SHARE),
  "policy.learning_rate": _POSITIVE,
  "policy.target_rate": _PART,
  "policy.init_temperature": _POSITIVE,
  "policy.min_temperature": _FROM_0,
  "policy.target_entropy": _or_none(_ANY),
  "policy.n_step": _whole(1),
  "policy.reset_every": _whole(0),
  "policy.critic.hidden": _items("of whole numbers of at least 1", _whole(1), least=0),
  "policy.critic.norm": _words("layer", "batch", "none"),
  "policy.critic.bins": _real(
    "of 0, or at least 2 (a whole number)",
    lambda x: isinstance(x, numbers.Integral) and (x == 0 or x >= 2),
  ),
  "policy.critic.value_range": _POSITIVE,
  "policy.exploration.hold": _whole(1),
  "policy.exploration.octaves": _or_none(_whole(1)),
  "policy.updates_per_step": _whole(1),
  "policy.warmup_steps": _whole(1),
  "policy.replay_capacity": _whole(1),
  "policy.eval_every": _or_none(_whole(1)),
  "policy.eval_episodes": _whole(1),
  "policy.final_episodes": _whole(1),
  "policy.checkpoint_every": _whole(1),
  "policy.max_skipped": _whole(1),
  "policy.online.every": _whole(0),
  "policy.online.steps": _whole(1),
  "policy.online.learning_rate": _POSITIVE,
  "policy.online.clips": _whole(0),
  "policy.online.recent": _whole(1),
  "policy.online.best": _whole(0),
  "policy.online.contrast": _FROM_0,
  "policy.online.frames_mb": _whole(1),
  "reward.robot_free": _words("drawn", "predicted"),
  "reward.scale": _POSITIVE,
  "reward.saturation": _or_none(_FROM_0),
  "reward.path_distance_weight": _FROM_0,
  "reward.path_temperature": _POSITIVE,
  "reward.subgoal_move": _POSITIVE,
  "reward.subgoal_rest": _POSITIVE,
  "reward.subgoal_temperature": _POSITIVE,
  "reward.plain_weight": _FROM_0,
  "reward.robot_free_weight": _FROM_0,
  "corpus.expert_episodes": _whole(0),
  "corpus.recovering_episodes": _whole(0),
  "corpus.astray": _STEPS,
  "corpus.approach": _STEPS,
  "corpus.noisy_episodes": _whole(0),
  "corpus.random_episodes": _whole(0),
  "corpus.noise": _items("of one or more finite numbers of at least 0", _FROM_0),
  "corpus.heavy_noise": _FROM_0,
  "corpus.size": _whole(1),
  "corpus.frame_stride": _whole(1),
  "corpus.max_frames": _whole(2),
  "corpus.azimuth": _pair("finite numbers", _ANY),
  "corpus.elevation": _pair("finite numbers", _ANY),
  "corpus.distance": _pair("finite numbers above 0", _POSITIVE),
  "corpus.close_azimuths": _items("of finite numbers", _ANY, least=0),
  "robot_data.joint_noise": _FROM_0,
  "robot_data.placement": _whole(-1),
  "vptr.seeds": _SEEDS,
  "vptr.target_episodes": _items("of one or more whole numbers of at least 1", _whole(1)),
  "vptr.target_share": _PART,
  "vptr.online_episodes": _whole(0),
  "vptr.online_round": _whole(1),
  "vptr.online_updates": _whole(1),
  "vptr.online_share": _PART,
  "vptr.robot_updates": _whole(0),
  "vptr.target_updates": _whole(1),
  "vptr.state_entries": _whole(0),
  "vptr.samples": _whole(1),
  "vptr.conservative_weight": _FROM_0,
  "vptr.actor_learning_rate": _POSITIVE,
  "vptr.clone_updates": _whole(0),
  "vptr.crop_padding": _whole(0),
  "vptr.colour_jitter": _tuple(
    "of four numbers from 0 to 1", lambda x: len(x) == 4 and all(map(_SHARE.holds, x))
  ),
  "vptr.colour_share": _SHARE,
  "vptr.reward_scale": _POSITIVE,
  "vptr.reward_shift": _ANY,
  "vptr.action_limit": _real("above 0, below 1", lambda x: 0 < x < 1),
  "ablation.seeds": _SEEDS,
  "erasing.seeds": _items("of at least one whole number of at least 0", _whole(0)),
  "ceiling.seeds": _SEEDS,
  "ceiling.hand_weight": _FROM_0,
  "ceiling.object_weight": _FROM_0,
  "ceiling.dense_scale": _POSITIVE,
  "ten_tasks.seeds": _SEEDS,
  "cross.seeds": _SEEDS,
  "stability.steps": _whole(1),
  "tasks.episodes": _whole(1),
  "tasks.horizon": _whole(1),
}


def check(section: str, values: Mapping[str, Any]) -> None:
  """Checks the values of a section and of the sections inside it; ignores keys without a range.

  Args:
    section: the section's name in a config, such as "finetune.tcc"; "" for a whole config.
    values: the section's values by key.

  Raises:
    UserError: a value is out of its range; the message names its key.
  """
  _check(section, section, values)


def _check(shown: str, known: str, values: Mapping[str, Any]) -> None:
  for key, value in values.items():
    # Users name views and expectations; a stage of pretraining and what fits a task are configs of
    # their own.
    any_name = known in ("views", "expect")
    label = f"{shown}.{key}".lstrip(".")
    name = (
      "" if known in ("pretrain", "for_task") else f"{known}.{'*' if any_name else key}".lstrip(".")
    )
    if hasattr(value, "items"):
      _check(label, name, value)
    elif name in RANGES and not RANGES[name].holds(value):
      raise UserError(f"expected config.{label} {RANGES[name].words}, got {value!r}; change it.")
