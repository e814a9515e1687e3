"""The parts of the agent that a config asks for: views, reward, online training, shared memory."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import jax
import ml_collections
import numpy as np
from absl import logging

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.envs import Channel, FrameVectorEnv, RobotEnv
from vipjax.envs.worker import layout, shared_bytes
from vipjax.reward import RewardSettings
from vipjax.reward.channels import Channels
from vipjax.reward.settings import PREDICTED
from vipjax.runtime import shared
from vipjax.runtime.errors import UserError
from vipjax.runtime.numbers import require_at_least
from vipjax.runtime.settings import from_section
from vipjax.sac import LoopSettings, SacSettings
from vipjax.sac.critic import CriticSettings
from vipjax.sac.exploration import ExplorationSettings
from vipjax.sac.frame_replay import FrameReplay
from vipjax.sac.online import OnlineTraining
from vipjax.sac.online_settings import OnlineSettings, plan_frame_budget
from vipjax.sac.own_films import rows_showing
from vipjax.sac.seen import EmbeddedEnv, with_embedding
from vipjax.scene import View
from vipjax.stages.filming import Act
from vipjax.stages.inputs import make_settings, views_from_config
from vipjax.types import Video

ROBOT_FREE_ENCODER = "encoder_robot_free"  # folder in a run folder
_ONLINE_STREAM = 4


def policy_views(config: ml_collections.ConfigDict) -> dict[str, View]:
  """The viewpoints that the reward sees, by name; raises UserError where one is not declared."""
  views = views_from_config(config.views)
  missing = [name for name in config.policy.views if name not in views]
  if missing or not config.policy.views:
    raise UserError(
      f"expected config.policy.views among {', '.join(sorted(views))}, got "
      f"{list(config.policy.views)}; choose one or more of these."
    )
  return {name: views[name] for name in config.policy.views}


def reward_channels(config: ml_collections.ConfigDict) -> Channels:
  """The channels of the reward; raises UserError as `policy_views` does."""
  reward = config.reward
  weights = reward.plain_weight, reward.robot_free_weight
  return Channels(policy_views(config), reward.goal, *weights)


def reward_settings(config: ml_collections.ConfigDict) -> RewardSettings:
  """How distances become rewards; raises UserError for bad values."""
  return from_section(RewardSettings, config.reward, "reward", discount=config.policy.discount)


def robot_free_encoders(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> list[ValueFunction]:
  """What embeds frames as if the robot were not there, where the reward asks for it.

  Raises:
    UserError: the run has too few.
  """
  if config.reward.robot_free != PREDICTED:
    return []
  members = range(config.robot_free.members)
  folders = [workdir / ROBOT_FREE_ENCODER / str(number) for number in members]
  missing = [folder for folder in folders if not folder.exists()]
  if missing:
    raise UserError(
      f"expected in {missing[0]} an encoder that embeds frames as if the robot were not there, for "
      "config.reward.robot_free = 'predicted', got none; run launch.finetune or launch.pipeline, "
      "which train them, or set robot_free to 'drawn'."
    )
  return [encoder.load(folder) for folder in folders]


def require_predictable(config: ml_collections.ConfigDict) -> None:
  """Raises UserError where config.reward.robot_free = "predicted" does not go with other keys."""
  reward = config.reward
  if reward.robot_free != PREDICTED:
    return
  wrong = [
    f"{key} = {got!r}"
    for key, got, fits in (
      ("reward.robot_free_weight", reward.robot_free_weight, reward.robot_free_weight > 0),
      ("reward.form", reward.form, reward.form != "progress"),
      ("encoder.head", config.encoder.head, config.encoder.head == "l2"),
      ("policy.online.every", config.policy.online.every, not config.policy.online.every),
      (
        "record.robot_free",
        config.record.robot_free,
        config.record.robot_free or bool(config.data.path),
      ),
    )
    if not fits
  ]
  if wrong:
    raise UserError(
      "expected config.reward.robot_free_weight above 0, another reward.form than 'progress', "
      "encoder.head 'l2', policy.online.every 0 and record.robot_free True with reward.robot_free "
      f"'predicted', got {', '.join(wrong)}; change these, or set robot_free to 'drawn'."
    )


def refuse_predicted(config: ml_collections.ConfigDict, what: str) -> None:
  """Raises UserError where an experiment would need robot-free encoders of its own."""
  if config.reward.robot_free == PREDICTED:
    raise UserError(
      f"expected config.reward.robot_free = 'drawn' in {what}, which trains no robot-free "
      "encoders, got 'predicted'; change it."
    )


def sac_settings(policy: ml_collections.ConfigDict) -> SacSettings:
  """The agent of the section `policy`; raises UserError for bad values."""
  critic = from_section(CriticSettings, policy.critic, "policy.critic")
  return from_section(SacSettings, policy, "policy", critic=critic)


def loop_settings(policy: ml_collections.ConfigDict) -> LoopSettings:
  """How it acts and learns, of the section `policy`; raises UserError for bad values."""
  exploration = from_section(ExplorationSettings, policy.exploration, "policy.exploration")
  return from_section(LoopSettings, policy, "policy", exploration=exploration)


def policy_env(
  config: ml_collections.ConfigDict, value: ValueFunction, env: FrameVectorEnv
) -> FrameVectorEnv | EmbeddedEnv:
  """The environments as the policy sees them, by config.policy.input."""
  return EmbeddedEnv(env, value) if config.policy.input == "frame" else env


def policy_act(
  config: ml_collections.ConfigDict, value: ValueFunction, env: RobotEnv, act: Act
) -> Act:
  """What acts in one environment by its observation, of a policy that acts by what it sees."""
  if config.policy.input != "frame":
    return act
  view = next(iter(policy_views(config).values()))
  return lambda observation: act(with_embedding(value, env.frame(view)[None], observation[None])[0])


def require_input(config: ml_collections.ConfigDict) -> None:
  """Raises UserError where config.policy.input = "frame" does not go with other keys."""
  policy = config.policy
  if policy.input == "frame" and (
    policy.online.every or policy.backend == "warp" or not config.reward.plain_weight
  ):
    raise UserError(
      "expected config.policy.online.every = 0, backend 'mujoco' and config.reward.plain_weight "
      "above 0 with config.policy.input 'frame', which the encoder sees as it is, got "
      f"{policy.online.every}, {policy.backend!r} and {config.reward.plain_weight}; change these, "
      "or set input to 'state'."
    )


def make_online(
  config: ml_collections.ConfigDict,
  path: pathlib.Path,
  value: ValueFunction,
  videos: Sequence[Video],
  env: FrameVectorEnv,
  channels: Sequence[Channel],
  shape: tuple[int, ...],
) -> OnlineTraining | None:
  """The encoder's training beside the policy's; None where the config asks for none.

  Args:
    config: keys as declared in configs/paper.py.
    path: the file for the frames that the agent sees.
    value: the encoder.
    videos: those of the task.
    env: the environments.
    channels: what they film, result of `filmed`.
    shape: [C, H, W, 3], shape of the frames of one environment.

  Raises:
    UserError: bad settings, another head than "l2", or the frames take more than they may on the
      disk or the device.
  """
  policy = config.policy
  online = from_section(OnlineSettings, policy.online, "policy.online")
  if not online.every:
    return None
  if config.finetune.loss == "distillation":
    raise UserError(
      "expected config.finetune.loss 'vip', 'triplet' or 'expectile' with "
      "config.policy.online.every, because online training has no teachers, got 'distillation'; "
      "set it, or set every to 0."
    )
  value.require_l2("config.policy.online.every above 0, which judges episodes by embeddings")
  row = (env.num_envs, *shape)
  # Two checkpoints are kept.
  budget = plan_frame_budget(
    online, row, env.horizon, policy.replay_capacity, policy.steps, 2 * policy.checkpoint_every
  )
  capacity = budget.steps * env.num_envs
  require_at_least(
    "config.policy.replay_capacity, as far as config.policy.online.frames_mb allows,", capacity,
    max(policy.warmup_steps, policy.batch_size),
  )  # fmt: skip
  asked = min(policy.replay_capacity, policy.steps)
  if capacity < asked:
    logging.warning(
      "The replay remembers %s transitions, not %s: the frames of no more fit into "
      "config.policy.online.frames_mb.", f"{capacity:,}", f"{asked:,}",
    )  # fmt: skip
  megabytes = _video_megabytes(online, videos, shape, env.horizon)
  if megabytes > config.data.resident_mb:
    raise UserError(
      "expected videos and own episodes of at most config.data.resident_mb = "
      f"{config.data.resident_mb} MiB for online training, got {megabytes:.0f}; raise it, lower "
      "config.policy.online.recent and best, or leave out videos."
    )
  shown = rows_showing(channels, policy_views(config), videos)
  if online.best and not all(shown):
    logging.warning(
      "No episode of the policy joins the task's videos: without videos with and without the robot "
      "from each of config.policy.views nobody knows whether it reached the goal."
    )
  return OnlineTraining(
    online,
    make_settings(config.finetune),
    config.finetune.max_skipped,
    jax.random.fold_in(jax.random.key(config.seed), _ONLINE_STREAM),
    value,
    videos,
    FrameReplay(path, row, *budget),
    env.horizon,
    channels,
    shown,
  )


def refuse_online_seeds(config: ml_collections.ConfigDict) -> None:
  """Raises UserError where an encoder that learns from one agent's episodes has several."""
  seeds, every = config.policy.seeds, config.policy.online.every
  if seeds > 1 and every:
    raise UserError(
      "expected config.policy.seeds=1 with config.policy.online.every, because the encoder learns "
      f"from the episodes of one agent, got {seeds} with every={every}; run the seeds one by one, "
      "or set every to 0."
    )


def require_shared_memory(config: ml_collections.ConfigDict) -> None:
  """Raises UserError where the policy stage's environments would find too little shared memory.

  Frames at the unknown size of a user's own videos, without config.data.size, are left out.
  """
  size = config.data.size if config.data.path else config.record.size
  weights = (config.reward.plain_weight, config.reward.robot_free_weight)
  predicted = config.reward.robot_free == PREDICTED
  each = 1 if predicted else sum(weight > 0 for weight in weights)
  channels = len(config.policy.views) * each
  policy = config.policy
  count = policy.seeds * (policy.num_envs + min(policy.eval_episodes, 10))
  # The sizes of torque control, which are the larger ones.
  shapes = layout(count, config.env.horizon, (8,), (51,), (channels, size, size, 3))
  shared.require(shared_bytes(shapes))


def _video_megabytes(
  online: OnlineSettings, videos: Sequence[Video], shape: tuple[int, ...], horizon: int
) -> float:
  """MiB of the videos that online training holds on the device."""
  count = len(videos) + (online.best + (online.recent if online.clips else 0)) * shape[0]
  count += shape[0] // 2 if online.contrast else 0  # half of the channels show the robot
  length = max(horizon + 1, *(len(video.frames) for video in videos))
  return count * length * int(np.prod(shape[1:])) / 2**20
