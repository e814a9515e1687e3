"""Decimated meshes are made once and kept; without a place to keep them, made each time."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
import trimesh

from vipjax.scene import meshes


@dataclasses.dataclass
class Mesh:
  """What `decimate` sees of a spec's mesh."""

  file: str
  uservert: np.ndarray | None = None
  userface: np.ndarray | None = None


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("VIPJAX_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache" / "meshes"


@pytest.fixture
def ball(tmp_path):
  """A sphere of radius 1 with 1280 faces."""
  trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "ball.stl")
  return "ball.stl"


def decimated(file, folder):
  mesh = Mesh(file)
  meshes.decimate(mesh, pathlib.Path(folder))
  return mesh


def test_fewer_faces_of_the_same_shape(ball, tmp_path):
  mesh = decimated(ball, tmp_path)
  vertices, faces = mesh.uservert.reshape(-1, 3), mesh.userface.reshape(-1, 3)
  assert mesh.file == "" and len(faces) == pytest.approx(0.15 * 1280, rel=0.1)
  np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1.0, atol=0.1)
  assert faces.min() == 0 and faces.max() == len(vertices) - 1


def test_seams_of_normals_do_not_tear(tmp_path):
  ball = trimesh.creation.icosphere(subdivisions=3)
  lines = [f"v {x} {y} {z}" for x, y, z in ball.vertices]
  # Each face with normals of its own, so that none shares a vertex with its neighbour.
  lines += [f"vn {x} {y} {z}" for x, y, z in ball.face_normals]
  corners = (" ".join(f"{v + 1}//{i + 1}" for v in face) for i, face in enumerate(ball.faces))
  lines += [f"f {each}" for each in corners]
  (tmp_path / "ball.obj").write_text("\n".join(lines))
  mesh = decimated("ball.obj", tmp_path)
  shell = trimesh.Trimesh(mesh.uservert.reshape(-1, 3), mesh.userface.reshape(-1, 3), process=False)
  assert shell.is_watertight and len(shell.faces) < 250


def test_an_absolute_path_needs_no_folder(ball, tmp_path):
  np.testing.assert_array_equal(
    decimated(str(tmp_path / ball), "/nowhere").userface, decimated(ball, tmp_path).userface
  )


def test_the_second_time_nothing_is_computed(ball, tmp_path, cache, monkeypatch):
  first = decimated(ball, tmp_path)
  assert len(list(cache.iterdir())) == 1
  monkeypatch.setattr(meshes, "_made", None)
  second = decimated(ball, tmp_path)
  np.testing.assert_array_equal(second.uservert, first.uservert)
  np.testing.assert_array_equal(second.userface, first.userface)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04rubbish"])
def test_a_damaged_copy_is_made_anew(ball, tmp_path, cache, content):
  first = decimated(ball, tmp_path)
  (kept,) = cache.iterdir()
  whole = kept.read_bytes()
  kept.write_bytes(content)
  np.testing.assert_array_equal(decimated(ball, tmp_path).userface, first.userface)
  assert kept.read_bytes() == whole


def test_without_a_cache_drawing_goes_on(ball, tmp_path, monkeypatch):
  expected = decimated(ball, tmp_path)
  (tmp_path / "file").touch()
  monkeypatch.setenv("VIPJAX_CACHE", str(tmp_path / "file"))
  np.testing.assert_array_equal(decimated(ball, tmp_path).userface, expected.userface)


def test_small_meshes_and_those_without_a_file_stay(tmp_path):
  trimesh.creation.icosphere(subdivisions=1).export(tmp_path / "small.stl")
  for _ in range(2):  # made, and found in the cache
    mesh = decimated("small.stl", tmp_path)
    assert mesh.file == "small.stl" and mesh.userface is None
  assert decimated("", tmp_path).userface is None
