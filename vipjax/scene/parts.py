"""Parts of a compiled model by their names, and drawing without them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np

from vipjax.runtime.errors import UserError

_SHOWN = 40


def geoms_of(model: mujoco.MjModel, names: Sequence[str]) -> np.ndarray:
  """Returns bool [ngeom]: the geoms of these names, and all of these bodies' subtrees.

  Raises:
    UserError: no body and no geom has the name, or its subtree has no geom.
  """
  bodies, geoms = names_of(model.body, model.nbody), names_of(model.geom, model.ngeom)
  found = np.zeros(model.ngeom, bool)
  for name in names:
    inside = np.array([bool(name) and each == name for each in bodies])
    for number in range(1, model.nbody):  # Parents come first.
      inside[number] |= inside[model.body_parentid[number]]
    own = [bool(name) and each == name for each in geoms] | inside[model.geom_bodyid]
    if not own.any():
      parents = zip(bodies, model.body_parentid, strict=True)
      roots = [each for each, parent in parents if parent == 0 and each][1:]
      raise UserError(
        f"expected a body or geom of the model (on its world stand {listed(roots)}), got {name!r}; "
        "name the root of the robot."
      )
    found |= own
  return found


@contextlib.contextmanager
def hidden(
  model: mujoco.MjModel, geoms: np.ndarray | None = None, sites: bool = False
) -> Iterator[None]:
  """Within the block the model is drawn without some of its parts, by whatever renderer.

  Skins and tendons stay.

  Args:
    model: gets its own colours back after the block, however it ends.
    geoms: which ones to hide, as an index of [ngeom]; None for none.
    sites: whether to hide all sites.
  """
  parts = []
  if geoms is not None:
    parts.append((model.geom_rgba, model.geom_matid, geoms))
  if sites:
    parts.append((model.site_rgba, model.site_matid, slice(None)))
  kept = [(colour[rows, 3].copy(), material[rows].copy()) for colour, material, rows in parts]
  try:
    for colour, material, rows in parts:
      colour[rows, 3] = 0.0
      material[rows] = -1  # a material's alpha overrides the geom's
    yield
  finally:
    for (colour, material, rows), (alpha, number) in zip(parts, kept, strict=True):
      colour[rows, 3], material[rows] = alpha, number


def names_of(element, count: int) -> list[str]:
  """The names of all parts of a kind, such as `model.body`; "" for one without."""
  return [element(number).name for number in range(count)]


def listed(names: Sequence[str]) -> str:
  """Names as an error shows them, not all of very many."""
  more = len(names) - _SHOWN
  return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "") or "none"
