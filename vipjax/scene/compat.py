"""The few places where MuJoCo's MjSpec changed between releases."""

from __future__ import annotations

import mujoco


def delete(spec: mujoco.MjSpec, element) -> None:
  """Deletes an element of a spec: `spec.delete` from MuJoCo 3.3.3 on, the element's own before."""
  if hasattr(spec, "delete"):
    spec.delete(element)
  elif isinstance(element, mujoco._specs.MjsBody):
    spec.detach_body(element)
  else:
    element.delete()
