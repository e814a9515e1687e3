"""The robot-free encoders' training: the run's films in, `encoder_robot_free/` out; resumable."""

from __future__ import annotations

import pathlib

import jax
import ml_collections
from absl import logging

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.finetune.devices import steps_per_dispatch
from vipjax.finetune.robot_free import (
  Layers,
  RobotFreeSettings,
  RobotFreeState,
  init_robot_free,
  make_layers,
  make_robot_free_step,
  with_robot_free_state,
)
from vipjax.finetune.step import scan_steps
from vipjax.runtime import hosts
from vipjax.runtime.errors import UserError
from vipjax.runtime.settings import from_section
from vipjax.stages.agent import ROBOT_FREE_ENCODER
from vipjax.stages.inputs import find_videos, require_encoder
from vipjax.stages.record import ROBOTS
from vipjax.stages.stage import Resumed, stage
from vipjax.stages.task import filled
from vipjax.stages.updates import Taken, Updates, take
from vipjax.videos import open_videos
from vipjax.videos.composite import films_with_twins

STAGE = "robot_free"
_STREAM = 5  # of the run's seed
_METRICS_EVERY = 10
_NEEDED_BY = "config.reward.robot_free = 'predicted'"


@stage(STAGE)
def train_robot_free(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Resumed:
  """Trains encoders that embed frames with the robot as the run's own embeds those without it.

  Reads `encoder/`, and films with and without the robot: those of the reward's views in `videos/`
  and, if there is one, `robots/`, or all in config.data.path. Writes metrics, checkpoints and the
  artefacts `encoder_robot_free/<n>/`. It takes one device.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder, after fine-tuning.

  Returns:
    JSON-able facts: "steps", "robots" and "scenes", how many frames they come of, "error", the mean
    distance of the last update's embeddings to what they should be, in ways of the object.

  Raises:
    UserError: no encoder yet, a film without its twin, or updates that are not finite.
  """
  config = filled(config)
  settings = from_section(RobotFreeSettings, config.robot_free, "robot_free")
  require_encoder(workdir)
  value = encoder.load(workdir)
  value.require_l2("config.reward.robot_free = 'predicted', which compares embeddings")
  layers = _find_layers(config, workdir, value)
  state = init_robot_free(jax.random.fold_in(jax.random.key(config.seed), _STREAM), value, settings)
  taken = _learn(config, workdir, value, settings, layers, state)
  metadata = {
    **value.metadata,
    "robot_free_of": value.metadata.get("name"),
    "steps": settings.steps,
  }
  for number, member in enumerate(with_robot_free_state(value, taken.state)):
    folder = workdir / ROBOT_FREE_ENCODER / str(number)
    if hosts.is_first():
      encoder.save(folder, member.replace(metadata=metadata), overwrite=True)
  facts = {
    "steps": settings.steps,
    "error": taken.metrics.get("robot_free_error"),
    "robots": len(layers.robots),
    "scenes": len(layers.scenes),
  }
  return Resumed(facts, taken.earlier)


def _find_layers(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, value: ValueFunction
) -> Layers:
  """What the films of the reward's views are made of; of one's own videos, those of all views.

  Of films that fail, if they have twins, only the robots count, whatever config.data.success says.
  """
  folder, every = workdir / ROBOTS, config.copy_and_resolve_references()
  every.data.success = False
  found, more = find_videos(every, workdir), open_videos(folder) if folder.exists() else []
  if not config.data.path:
    views = config.policy.views
    found, more = (
      [each for each in films if each.metadata["view"] in views] for films in (found, more)
    )
    if config.robot_free.random_episodes and not more:
      logging.warning(
        "There are no films of random motion in %s: the robot-free encoders see no robots but "
        "those of the task's films.", folder,
      )  # fmt: skip
  task, failed = (
    [each for each in found if (each.metadata.get("success") is False) == fails]
    for fails in (False, True)
  )
  if any(each.metadata.get("robot_visible") is False for each in failed):
    more = more + failed
  layers = make_layers(
    value,
    films_with_twins(task, _NEEDED_BY),
    films_with_twins(more, _NEEDED_BY) if more else (),
    config.finetune.composites.threshold,
  )
  megabytes = sum(each.nbytes for each in layers) / 2**20
  if megabytes > config.data.resident_mb:
    raise UserError(
      f"expected robots and scenes of at most config.data.resident_mb = {config.data.resident_mb} "
      f"MiB for {_NEEDED_BY}, got {megabytes:.0f}; raise it, or leave out films."
    )
  return layers


def _learn(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  value: ValueFunction,
  settings: RobotFreeSettings,
  layers: Layers,
  state: RobotFreeState,
) -> Taken:
  """Updates until settings.steps, from the last checkpoint if there is one."""
  step = make_robot_free_step(value, settings)
  programs = {
    count: jax.jit(scan_steps(step, count), donate_argnums=0) for count in {1, steps_per_dispatch()}
  }
  layers = jax.device_put(layers)

  def dispatch(left: int):
    count = max(n for n in programs if n <= left)
    return count, lambda state: programs[count](state, layers)

  every, max_skipped = config.finetune.checkpoint_every, config.finetune.max_skipped
  updates = Updates(
    STAGE, settings.steps, dispatch, _METRICS_EVERY, every, max_skipped,
    "lower config.robot_free.learning_rate", shown=("robot_free_error",),
  )  # fmt: skip
  return take(workdir, updates, state)
