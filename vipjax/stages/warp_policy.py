"""The policy stage with MuJoCo Warp: all environments, pictures and updates on one device."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Generator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from vipjax.envs import Channel, Stream, episode_seed
from vipjax.envs.warp import Scene, Simulation, WarpEnv, read_scene
from vipjax.envs.warp.reference import Reference, read_reference
from vipjax.reward.embedding import EmbeddingReward
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.sac.agent import SacSettings, compile_policy, init_agent
from vipjax.sac.device_loop import (
  DeviceLoopState,
  compile_evaluation,
  init_device_loop,
  train_device_loop,
)
from vipjax.sac.rollout import LoopStep
from vipjax.stages.agent import loop_settings, policy_views
from vipjax.stages.filming import agent_options
from vipjax.stages.inputs import views_from_config
from vipjax.stages.stage import Resumed
from vipjax.stages.task import filled
from vipjax.stages.training import ACTING_STREAM, AGENT_STREAM, STAGE, Training
from vipjax.types import Video
from vipjax.videos.formats.folders import write_videos

_HOLD = 20  # steps filmed after success


def open_scene(config: ml_collections.ConfigDict) -> Scene:
  """Reads the exported scene of a config, for its horizon, its noise and its action repeat.

  Args:
    config: keys as declared in configs/paper.py.

  Raises:
    UserError: what Warp's environments cannot do, or the scene is of another environment.
  """
  policy = config.policy
  for name, value, only in (
    ("policy.seeds", policy.seeds, 1), ("policy.online.every", policy.online.every, 0),
    ("env.control", config.env.control, "torque"),
  ):  # fmt: skip
    if value != only:
      raise UserError(
        f"expected config.{name} of {only!r} with config.policy.backend 'warp', got {value!r}; set "
        "it, or set the backend to 'mujoco'."
      )
  scene, options = read_scene(policy.scene), agent_options(config)
  placement = options["placement"]
  wanted = {"task": options["task"], "robot": options["robot"], "placement": placement}
  found = {name: getattr(scene.facts, name) for name in wanted}
  if found != wanted:
    where = f" --placement={placement}" if placement is not None else ""
    raise UserError(
      f"expected an exported scene of {wanted} in config.policy.scene, got one of {found}; write "
      f"it with python -m launch.export_scene --task={wanted['task']} --arm={wanted['robot']}"
      f"{where} --out=FOLDER."
    )
  own = {name: options[name] for name in ("horizon", "joint_noise")}
  # A scene's frame_skip is RobotEnv's; actions may be held for longer.
  own["frame_skip"] = scene.facts.frame_skip * policy.action_repeat
  return dataclasses.replace(scene, facts=dataclasses.replace(scene.facts, **own))


def film_expert(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Films the expert's episodes that stand beside the scene, as Warp draws them, into `videos/`.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder.

  Returns:
    JSON-able facts as `stages.record.record`'s: "videos" and "frames".

  Raises:
    UserError: as `open_scene`; or fewer episodes beside the scene than config.record.episodes.
  """
  config = filled(config)
  scene, record = read_scene(config.policy.scene), config.record
  recorded, views = read_reference(scene), views_from_config(config.views)
  if len(recorded.lengths) < record.episodes:
    raise UserError(
      f"expected {record.episodes} episodes beside the scene {config.policy.scene}, got "
      f"{len(recorded.lengths)}; export it again with --episodes={record.episodes}."
    )
  recorded = Reference(*(each[: record.episodes] for each in recorded))
  named = [
    (name, Channel(view, visible))
    for name, view in views.items()
    for visible in ((True, False) if record.robot_free else (True,))
  ]
  simulation = Simulation(scene, record.episodes, [each for _, each in named], record.size)
  steps = int(recorded.lengths.max())
  env = WarpEnv(scene, simulation, horizon=steps + 1)
  step, starts = jax.jit(env.step), map(jnp.asarray, recorded[:4])
  state, _, frames = env.start(*starts, key=jax.random.key(0))
  films, success = [np.asarray(frames)], []
  for number in range(steps):
    state, told = step(state, jnp.asarray(recorded.actions[:, number]))
    films.append(np.asarray(told.frames))
    success.append(np.asarray(told.success))
  videos = []
  for episode, length in enumerate(recorded.lengths):
    times = np.unique([*range(0, length, record.frame_stride), length])
    for channel, (name, seen) in enumerate(named):
      videos.append(
        Video(
          frames=np.stack([films[time][episode, channel] for time in times]),
          fps=_rate(scene) / record.frame_stride,
          task=scene.facts.task,
          embodiment=scene.facts.robot,
          view=name,
          robot_visible=seen.robot_visible,
          success=bool(np.any([each[episode] for each in success[:length]])),
          source=f"{scene.facts.task}, {scene.facts.robot}, by MuJoCo Warp, episode {episode}",
          episode=episode,
        )
      )
  write_videos(workdir / "videos", videos, overwrite=True)
  return {"videos": len(videos), "frames": sum(len(video.frames) for video in videos)}


def _rate(scene: Scene) -> float:
  """Control steps in a second."""
  return 1.0 / (0.0025 * scene.facts.frame_skip)


def train_on_warp(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  scene: Scene,
  channels: Sequence[Channel],
  size: int,
  reward: EmbeddingReward,
  sac: SacSettings,
) -> Resumed:
  """Trains as `train_policy` does, with the scene's environments.

  Args:
    config, workdir: as there.
    scene: from `open_scene`.
    channels: the reward's.
    size: height and width of its pictures in pixels.
    reward: on one device.
    sac: hyperparameters of the agent.
  """
  policy = config.policy
  env, eval_env = (
    WarpEnv(scene, Simulation(scene, count, channels, size))
    for count in (policy.num_envs, min(policy.eval_episodes, policy.num_envs))
  )
  film = functools.partial(_film, config, scene, sac)
  devices = jax.local_devices()[:1]
  training = WarpTraining(config, workdir, env, eval_env, reward, sac, devices, None, film)
  with Checkpointer(workdir / "checkpoints" / STAGE, keep=2) as checkpoints:
    training.run(checkpoints)
    (final,) = training.evaluate_kept(eval_env)
  training.write_kept()
  result = {
    "policy_success": final["success"],
    "policy_final_success": final["final_success"],
    "policy_return": final["return"],
    "policy_steps_to_success": final["steps_to_success"],
  }
  result = {**training.results([result]), "env_steps_per_second": training.rate}
  return Resumed(result, training.earlier_seconds)


class WarpTraining(Training):
  """`Training` of one agent whose environments are JAX's; `env` and `eval_env` are WarpEnvs."""

  def _first(self, capacity: int) -> DeviceLoopState:
    key = jax.random.key(self.config.seed)
    sizes = self.env.observation_space.shape[0], self.env.action_space.shape[0]
    agent = init_agent(jax.random.fold_in(key, AGENT_STREAM), *sizes, self.sac)
    acting, resets = jax.random.fold_in(key, ACTING_STREAM), self._key(Stream.TRAINING)
    return init_device_loop(acting, agent, capacity, self.env, self.reward, resets)

  def _steps(self, state: DeviceLoopState) -> Generator[LoopStep, Any, None]:
    loop = loop_settings(self.config.policy)
    return train_device_loop(self.env, self.reward, state, self.sac, loop)

  def _found(
    self, env: WarpEnv, actors: Any, stream: Stream, episodes: int
  ) -> list[dict[str, float]]:
    return [self._evaluation(actors, self._key(stream), episodes)]

  @functools.cached_property
  def _evaluation(self):
    # Compiled once; all evaluations are in the same environments.
    return compile_evaluation(self.eval_env, self.reward, self.sac)

  def _latest(self, episodes: list[list[dict]], loop_step: LoopStep) -> list[list[dict]]:
    return [(episodes[0] + loop_step.episodes)[-2 * self.env.num_envs :]]

  def _key(self, stream: Stream) -> jax.Array:
    """The key of a stream's episodes, from the seed that they have elsewhere."""
    seed = episode_seed(stream, self.config.seed)
    return jax.random.fold_in(jax.random.key(seed & 0xFFFFFFFF), seed >> 32)


def _film(
  config: ml_collections.ConfigDict,
  scene: Scene,
  sac: SacSettings,
  actor: Any,
  size: int,
  seed: int,
) -> Video:
  """Films an episode of an actor, with the robot, as Warp draws it."""
  name, view = next(iter(policy_views(config).items()))
  env = WarpEnv(scene, Simulation(scene, 1, [Channel(view)], size))
  policy = compile_policy(env.action_space.shape[0], sac, deterministic=True)
  key = jax.random.key(seed)
  step = jax.jit(env.step)
  state, observation, frames = jax.jit(env.reset)(key)
  film, left = [np.asarray(frames[0, 0])], None
  for _ in range(env.horizon):
    state, told = step(state, policy(actor, observation, key))
    observation = told.observation
    film.append(np.asarray(told.frames[0, 0]))
    if left is None and bool(told.success[0]):
      left = _HOLD
    elif left is not None:
      left -= 1
    if left == 0:
      break
  return Video(
    frames=np.stack(film),
    fps=_rate(scene),
    task=scene.facts.task,
    embodiment=scene.facts.robot,
    view=name,
    robot_visible=True,
    success=left is not None,
  )
