"""Converts weights between VIP's released format and ours.

    python -m launch.convert_weights --checkpoint=model.pt --out=weights/vip

turns a `model.pt` as VIP released it into an encoder artefact, a folder that `vipjax.load` takes.

    python -m launch.convert_weights --checkpoint=runs/demo --out=demo.pt

goes the other way: an --out that ends in .pt or .safetensors gets the official layout, for users
of PyTorch. Neither downloads anything or needs torch; both take less than a minute.
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
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace an existing --out")
flags.mark_flags_as_required(["checkpoint", "out"])


def main(_):
  from vipjax import encoder  # Here, so that --help answers at once.

  value = encoder.load(_CHECKPOINT.value)
  out = pathlib.Path(_OUT.value).expanduser()
  if out.suffix in (".pt", ".safetensors"):
    encoder.export_official(value, out, overwrite=_OVERWRITE.value)
  else:
    encoder.save(out, value, overwrite=_OVERWRITE.value)
  licence = value.metadata.get("licence", "unknown")
  print(f"wrote {out}: {value.config}; licence of the weights: {licence}")


if __name__ == "__main__":
  launcher.run(main)
