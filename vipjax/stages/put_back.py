"""Films the expert's last pose with the objects put back, and prices it."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from absl import logging

from vipjax.encoder import ValueFunction
from vipjax.envs import PutBack, draw_put_back
from vipjax.evaluation.hack_price import compare_worth, measure_hack_price
from vipjax.runtime.progress import Progress
from vipjax.stages.agent import reward_channels, reward_settings
from vipjax.stages.filming import open_env, unseen_seeds
from vipjax.stages.inputs import views_from_config
from vipjax.videos import write_image

# The pictures of an episode, in the order of `PutBack.frames`.
PICTURES = ("first", "last", "put_back")


def films_put_back(config: ml_collections.ConfigDict) -> bool:
  """Whether a run has such films; a user's own videos come without a simulator."""
  return not config.data.path and config.evaluate.unseen_episodes > 0


def film_put_back(config: ml_collections.ConfigDict) -> list[PutBack]:
  """The unseen episodes of config.evaluate in which the expert succeeds, from all views.

  There are none where `films_put_back` says so. The config's views must fit its task
  (`fit_to_task`).
  """
  if not films_put_back(config):
    return []
  seeds = unseen_seeds(config.evaluate.unseen_episodes)
  views, made = views_from_config(config.views), []
  with (
    open_env(config, placement=None) as env,
    Progress(len(seeds), "put_back", unit="episode") as bar,
  ):
    for seed in seeds:
      made.append(draw_put_back(env, views, seed, hold=config.record.hold))
      bar.update()
  succeeded = [each for each in made if each.success]
  if len(succeeded) < len(made):
    logging.warning(
      "The expert succeeds in %d of %d unseen episodes; the hack price is that of these.",
      len(succeeded), len(made),
    )  # fmt: skip
  return succeeded


def hack_price(
  config: ml_collections.ConfigDict,
  value: ValueFunction,
  episodes: Sequence[PutBack],
  robot_free: Sequence[ValueFunction] = (),
) -> dict[str, Any]:
  """What `measure_hack_price` records of an encoder under the config's reward.

  With "overlap", in the mean, and "worth", what `compare_worth` says of the mean episode.
  """
  settings, repeat = reward_settings(config), config.policy.action_repeat
  record = measure_hack_price(value, episodes, reward_channels(config), settings, robot_free).record
  steps, straight, overlap = (
    float(np.mean([getattr(each, name) for each in episodes]))
    for name in ("steps", "straight", "overlap")
  )
  worth = compare_worth(
    record["hack_price_reward"],
    steps,
    straight,
    repeat,
    max(1, config.env.horizon // repeat),
    settings.discount,
    settings.form,
  )
  return {**record, "overlap": overlap, "worth": worth}


def write_pictures(episode: PutBack, folder: pathlib.Path) -> None:
  """Writes the three pictures of an episode from each view, with the robot, for people."""
  for (view, visible), frames in episode.frames.items():
    for name, frame in zip(PICTURES, frames, strict=True):
      if visible:
        write_image(folder / f"{view}_{name}.png", frame, overwrite=True)
