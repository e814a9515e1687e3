"""Converts weights between VIP's released format and ours.

    python -m launch.convert_weights --checkpoint=model.pt --out=weights/vip

turns a `model.pt` as VIP released it into an encoder artefact, a folder that `vipjax.load` takes.

    python -m launch.convert_weights --checkpoint=runs/demo --out=demo.pt

goes the other way: an --out that ends in .pt or .safetensors gets the official layout, for users
of PyTorch.

    python -m launch.convert_weights --checkpoint=runs/demo --out=reward --goal=goal.png

writes a reward model for LeRobot's plug-in in third_party/lerobot_policy_vipjax. None of them
downloads anything or needs torch; all take less than a minute.
"""

from __future__ import annotations

import pathlib

from absl import flags

from vipjax.runtime import launcher

_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", None, "a model.pt in VIP's released format, or anything else that vipjax.load takes"
)
_OUT = flags.DEFINE_string(
  "out", None, "the artefact's folder, or a file ending in .pt or .safetensors"
)
_GOAL = flags.DEFINE_string(
  "goal", None, "for LeRobot: image files, videos or data sets with commas between them"
)
_GOALS = flags.DEFINE_enum(
  "goals", "mean", ["mean", "nearest"], "of several goal frames, which one to measure to"
)
_IMAGE_KEY = flags.DEFINE_string(
  "image_key", "observation.images.top", "for LeRobot: the camera's name in its batches"
)
_FORM = flags.DEFINE_enum(
  "form", "value", ["value", "difference", "progress"],
  "for LeRobot: the reward is minus the distance, how much nearer a step comes, or the share that "
  "is covered",
)  # fmt: skip
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace an existing --out")
flags.mark_flags_as_required(["checkpoint", "out"])


def main(_):
  from vipjax import encoder  # Here, so that --help answers at once.

  value = encoder.load(_CHECKPOINT.value)
  out = pathlib.Path(_OUT.value).expanduser()
  if _GOAL.value:
    from vipjax.reward.goals import goal_frames
    from vipjax.reward.lerobot_model import export_lerobot

    goals = goal_frames(_GOAL.value, _IMAGE_KEY.value.rpartition(".")[2])
    export_lerobot(
      out, value, goals, _GOALS.value, _IMAGE_KEY.value, _FORM.value, overwrite=_OVERWRITE.value
    )
  elif out.suffix in (".pt", ".safetensors"):
    encoder.export_official(value, out, overwrite=_OVERWRITE.value)
  else:
    encoder.save(out, value, overwrite=_OVERWRITE.value)
  licence = value.metadata.get("licence", "unknown")
  print(f"wrote {out}: {value.config}; licence of the weights: {licence}")


if __name__ == "__main__":
  launcher.run(main)
