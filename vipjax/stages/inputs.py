"""What several stages make of a config: environments, views, videos, the encoder, settings."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
from absl import logging

from vipjax import encoder, sampling
from vipjax.encoder import Head, Multilinear, Preprocessing, ResNetConfig, ValueFunction
from vipjax.finetune.settings import IntentSettings, ProgressSettings, Settings, TccSettings
from vipjax.runtime.errors import UserError
from vipjax.runtime.numbers import whole_numbers
from vipjax.runtime.settings import from_section
from vipjax.scene import View
from vipjax.types import Video
from vipjax.videos import LazyVideo, composite_videos, open_videos, require_frames


def env_options(config: Mapping[str, Any]) -> dict[str, Any]:
  """RobotEnv's keyword arguments from the `env` section of a config (placement -1 is None)."""
  options = dict(config)
  options["placement"] = None if options["placement"] < 0 else options["placement"]
  return options


def views_from_config(views: Mapping[str, Mapping]) -> dict[str, View]:
  """Views by name from mappings of View's fields; raises UserError for any other field."""
  known = {field.name for field in dataclasses.fields(View)}
  result = {}
  for name, fields in views.items():
    unknown = set(fields) - known
    if unknown:
      raise UserError(
        f"expected a view made of {', '.join(sorted(known))}, got {', '.join(sorted(unknown))} in "
        f"view {name!r}; remove or rename it."
      )
    fields = dict(fields)
    if fields.get("camera"):  # its other numbers mean nothing
      fields = {"camera": fields["camera"]}
    if fields.get("lookat") is not None:
      fields["lookat"] = tuple(fields["lookat"])
    result[name] = View(**fields)
  if not result:
    raise UserError("expected at least one view, got none; name one under config.views.")
  return result


def reading_options(data: Mapping[str, Any]) -> dict[str, Any]:
  """`config.data`, as declared in configs/paper.py, as keyword arguments of `read_videos`.

  An empty value stands for no choice, because a config fixes the type of each key; so does a key
  that is missing from the config.json of an older run.

  Raises:
    UserError: `episodes` is no list of numbers.
  """
  options = {name: data[name] for name in ("view", "task", "fps") if data.get(name)}
  if data.get("episodes"):
    options["episodes"] = whole_numbers("config.data.episodes", data["episodes"])
  if data.get("success"):
    options["success"] = True
  return {"frame_stride": data.get("frame_stride", 1), **options}


def load_videos(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[Video]:
  """The run's videos: config.data.path, else what `record` wrote into the run folder.

  Raises:
    UserError: there are none, or one has a single frame.
  """
  videos = [video.read() for video in find_videos(config, workdir)]
  require_frames(videos, minimum=2)
  return videos


def find_videos(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[LazyVideo]:
  """The run's videos, not yet decoded."""
  folder = pathlib.Path(workdir) / "videos"
  if config.data.size and not config.data.path:
    raise UserError(
      f"expected config.data.path with config.data.size = {config.data.size}, got none; set "
      "config.record.size for recorded videos."
    )
  if not config.data.path and not folder.exists():
    raise UserError(
      f"expected videos in {folder} or config.data.path, got neither; run launch.record with this "
      "config and workdir first, or give --config.data.path=FOLDER."
    )
  if config.data.path:
    size = config.data.size or None
    return open_videos(config.data.path, **reading_options(config.data), size=size)
  # A corpus has a folder for each task.
  parts = sorted(file.parent for file in folder.glob("*/videos.json")) or [folder]
  return [video for part in parts for video in open_videos(part)]


def find_composites(
  config: ml_collections.ConfigDict, videos: Sequence[LazyVideo]
) -> list[LazyVideo]:
  """The films that config.finetune.composites asks to make of the run's videos.

  Raises:
    UserError: as `composite_videos`.
  """
  settings = config.finetune.composites
  if not (settings.fixed_arms or settings.detours):
    return []
  return composite_videos(videos, **settings)


def make_encoder(config: ml_collections.ConfigDict, key: jax.Array) -> ValueFunction:
  """The encoder that fine-tuning starts from: fresh weights, or what `vipjax.load` finds."""
  if config.init != "scratch":
    return encoder.load(config.init)
  architecture = from_section(ResNetConfig, config, "encoder")
  preprocessing = Preprocessing(resize=config.resize, crop=config.size)
  metadata = {"name": config.name, "licence": config.licence}
  value = encoder.init_value(key, architecture, preprocessing, metadata)
  params = value.variables["params"]
  head = {**params["fc"], "kernel": params["fc"]["kernel"] * config.init_scale}
  return value.replace(variables={**value.variables, "params": {**params, "fc": head}})


def with_config_head(
  value: ValueFunction, config: ml_collections.ConfigDict, key: jax.Array
) -> ValueFunction:
  """The encoder with the head config.encoder.head, for values of config.finetune.discount.

  Args:
    value: the encoder; a head of the same kind keeps its variables.
    config: the config.
    key: random key, consumed by fresh variables.

  Raises:
    UserError: the head does not fit the encoder or the discount.
  """
  name = config.encoder.head
  if name != "icvf":
    head = Head(name)
  else:
    discount = config.finetune.discount
    if not 0 < discount < 1:
      raise UserError(
        "expected config.finetune.discount between 0 and 1 with config.encoder.head = 'icvf', got "
        f"{discount}; change it."
      )
    fresh = Head(name, float(discount), Multilinear().hidden, config.encoder.head_layer_norm)
    has_it = value.head.name == name
    head = dataclasses.replace(value.head, discount=float(discount)) if has_it else fresh
  if value.head.name not in ("l2", name):
    logging.warning(
      "The head %s of %s is left out, as config.encoder.head = %r asks.",
      value.head.name, config.encoder.init, name,
    )  # fmt: skip
  return value.with_head(head, key)


def require_encoder(workdir: pathlib.Path) -> None:
  """Raises UserError if the run has not been fine-tuned."""
  if not (workdir / "encoder").exists():
    raise UserError(
      f"expected a fine-tuned encoder in {workdir / 'encoder'}, got none; run launch.finetune with "
      "this config and workdir first."
    )


def make_settings(config: ml_collections.ConfigDict) -> Settings:
  """The step's settings from the `finetune` section of a config; raises UserError for bad ones."""
  if config.loss != "vip" and config.sampler.name == "prioritised":
    raise UserError(
      f"expected config.finetune.loss 'vip' with the sampler 'prioritised', which learns from its "
      f"errors, got {config.loss!r}; choose another sampler."
    )
  sampler = from_section(sampling.Sampler, config.sampler, "finetune.sampler")
  return from_section(
    Settings,
    config,
    "finetune",
    sampler=sampler,
    decay_steps=config.steps if config.decay else 0,
    anneal_steps=config.steps if sampler.name == "prioritised" else 0,
    made_videos=0,
    tcc=from_section(TccSettings, config.tcc, "finetune.tcc"),
    progress=from_section(ProgressSettings, config.progress, "finetune.progress"),
    intents=from_section(IntentSettings, config.intents, "finetune.intents"),
  )
