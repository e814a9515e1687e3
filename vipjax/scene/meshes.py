"""Decimates meshes for drawing and caches the result."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import zipfile

import numpy as np

from vipjax.runtime.cache import cache_folder, file_sha256
from vipjax.runtime.errors import UserError

# A mesh that keeps a smaller share of its faces shows holes.
_KEEP_FACES = 0.15
_SMALL_MESH = 300
# Changes whenever `_made` makes another mesh from the same file.
_MADE = "joined"


def decimate(mesh, folder: pathlib.Path) -> None:
  """Replaces the file of a spec's mesh by its decimated vertices and faces, in place.

  Args:
    mesh: a mesh of an MjSpec; a mesh without a file or with few faces stays as it is.
    folder: the folder that the mesh's file is relative to.
  """
  if not mesh.file:
    return
  path = folder / mesh.file  # mesh.file alone if it is absolute
  made = _cached(path)
  if len(made["faces"]):
    mesh.file = ""
    mesh.uservert = made["vertices"].flatten()
    mesh.userface = made["faces"].flatten()


def _cached(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    meshes = cache_folder("meshes")
  except UserError:  # without a cache drawing still works
    return _made(path)
  cached = meshes / f"{file_sha256(path)[:32]}-{_KEEP_FACES:g}-{_MADE}.npz"
  # A damaged or missing file is made again.
  with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    with open(cached, "rb") as file, np.load(file) as arrays:
      return {name: arrays[name] for name in ("vertices", "faces")}
  made = _made(path)
  with contextlib.suppress(OSError):
    handle, temporary = tempfile.mkstemp(dir=meshes, suffix=".npz")
    with os.fdopen(handle, "wb") as file:
      np.savez(file, **made)
    os.replace(temporary, cached)
  return made


def _made(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns vertices float32 [V, 3] and faces int32 [F, 3]; V = F = 0 for a small mesh."""
  # Imported here, because only fast rendering needs them.
  import fast_simplification
  import trimesh

  surface = trimesh.load(path, force="mesh")
  if len(surface.faces) < _SMALL_MESH:
    return {"vertices": np.zeros((0, 3), np.float32), "faces": np.zeros((0, 3), np.int32)}
  # STL repeats a vertex for each face, OBJ along seams of normals and textures (the Panda's shells
  # have many). The simplifier tears the surface at vertices that are not merged.
  surface.merge_vertices(merge_tex=True, merge_norm=True, digits_vertex=5)
  vertices, faces = fast_simplification.simplify(
    surface.vertices.astype(np.float32),
    surface.faces.astype(np.int32),
    target_reduction=1.0 - _KEEP_FACES,
    agg=5,
  )
  return {"vertices": vertices, "faces": faces}
