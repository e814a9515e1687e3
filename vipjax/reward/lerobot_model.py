"""Writes a value and its goals as a reward model of LeRobot, for the plug-in in third_party/."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import safetensors.numpy

from vipjax.encoder import ValueFunction, reduce_goals
from vipjax.encoder.weights import torch_layout
from vipjax.encoder.weights.artefact import CONFIG, TENSORS, is_artefact
from vipjax.runtime import files
from vipjax.runtime.errors import UserError, require_among
from vipjax.videos.export import whole_folder

# What the plug-in calls the kinds of reward, as `VipjaxConfig.form` explains them.
FORMS = ("value", "difference", "progress")


def export_lerobot(
  folder: str | os.PathLike[str],
  value: ValueFunction,
  goals: Sequence[np.ndarray],
  goal_reduction: str = "mean",
  image_key: str = "observation.images.top",
  form: str = "value",
  overwrite: bool = False,
) -> pathlib.Path:
  """Writes a folder that LeRobot loads as a pretrained reward model of the type "vipjax".

  Args:
    folder: gets config.json and model.safetensors, nothing pickled.
    value: the encoder; BatchNorm only.
    goals: frames, each uint8 [H, W, 3].
    goal_reduction: "mean" keeps the mean of their embeddings, "nearest" each one's.
    image_key: the camera's name in LeRobot's batches.
    form: "value", "difference" or "progress".
    overwrite: replace a folder that is there.

  Returns:
    The folder.

  Raises:
    UserError: GroupNorm, another head than "l2", another form, a folder that is there, or one that
      cannot be written.
  """
  folder = pathlib.Path(folder)
  require_among("a form of the reward", form, FORMS)
  if folder.exists() and not (overwrite and is_artefact(folder)):
    advice = "pass --overwrite or another --out" if is_artefact(folder) else "give another --out"
    raise UserError(f"expected nothing at {folder} that would be lost, got something; {advice}.")
  value.require_l2("LeRobot's reward model")
  state = torch_layout.to_state_dict(value.config, value.variables)
  tensors = {
    f"encoder.{name.removeprefix(torch_layout.PREFIX)}": array for name, array in state.items()
  }
  embedded = np.concatenate([value.embed(frame[None]) for frame in goals])
  tensors["goals"] = np.ascontiguousarray(reduce_goals(embedded, goal_reduction), np.float32)
  config = {
    "type": "vipjax",
    "arch": value.config.arch,
    "width": value.config.width,
    "embedding_dim": value.config.embedding_dim,
    "stem": value.config.stem,
    "resize": value.preprocessing.resize,
    "crop": value.preprocessing.crop,
    "num_goals": len(tensors["goals"]),
    "image_key": image_key,
    "form": form,
    "device": "cpu",  # LeRobot warns of none; --reward_model.device is another.
    "license": value.metadata.get("licence", "unknown"),
  }
  with whole_folder(folder, overwrite) as partial:
    files.write_json(partial / CONFIG, config)
    files.write_bytes(partial / TENSORS, safetensors.numpy.save(tensors))
  return folder
