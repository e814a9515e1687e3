"""Changes a compiled scene so that Warp's pictures come near OpenGL's, in which videos are drawn.

Two differences are removed as far as a model can: OpenGL's light on a textured surface ends at 1
before it meets the texture, Warp's does not, so that a table under several lights comes out a fifth
too bright; and OpenGL averages the texels behind a pixel, where Warp takes a few, so that floors
sparkle. What stays: Warp has no glass, no reflections and no averaging at edges.
"""

from __future__ import annotations

import mujoco
import numpy as np
from PIL import Image

_RGB = mujoco.mjtTextureRole.mjTEXROLE_RGB
# Pixels of the picture that shows about one texel of Meta-World's textures a pixel.
_SHARP_SIZE = 480
_LEAST = 4  # texels


def like_opengl(model: mujoco.MjModel, cameras: list[str], size: int) -> None:
  """Changes colours and textures of a model that only Warp draws, in place.

  Args:
    model: the compiled scene.
    cameras: names of the cameras that draw it; nothing happens without any.
    size: height and width of the pictures in pixels.
  """
  if cameras:
    _end_light_at_one(model, cameras)
    _soften_textures(model, size)


def _end_light_at_one(model: mujoco.MjModel, cameras: list[str]) -> None:
  data = mujoco.MjData(model)
  mujoco.mj_forward(model, data)
  light = _light_from_above(model, data, [model.camera(name).id for name in cameras])
  for geom in range(model.ngeom):
    material = model.geom_matid[geom]
    if material < 0 or model.mat_texid[material, _RGB] < 0:
      continue
    if light > 1.0 and _lies_flat(model, data, geom):
      # A colour of the geom's own counts before its material's.
      model.geom_rgba[geom] = model.mat_rgba[material]
      model.geom_rgba[geom, :3] /= light
    # OpenGL's highlights take the texture's colour, Warp's are white.
    model.mat_specular[material] = 0.0


def _light_from_above(model: mujoco.MjModel, data: mujoco.MjData, cameras: list[int]) -> float:
  """How much light falls on what faces up, as a factor of its colour."""
  head = model.vis.headlight
  light = 0.0
  if head.active:
    # It shines along the view: what counts is how far that looks down.
    down = np.mean([max(0.0, data.cam_xmat[camera].reshape(3, 3)[2, 2]) for camera in cameras])
    light += head.ambient.mean() + head.diffuse.mean() * down
  for number in range(model.nlight):
    if model.light_active[number]:
      down = max(0.0, -data.light_xdir[number, 2])
      light += model.light_ambient[number].mean() + model.light_diffuse[number].mean() * down
  return float(light)


def _lies_flat(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> bool:
  """Whether a geom is a plane, or lower than it is wide."""
  if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE:
    return True
  half = np.abs(data.geom_xmat[geom].reshape(3, 3)) @ model.geom_aabb[geom, 3:]
  return bool(half[2] < half[:2].min())


def _soften_textures(model: mujoco.MjModel, size: int) -> None:
  repeats = np.ones(model.ntex)
  for material in range(model.nmat):
    texture = model.mat_texid[material, _RGB]
    if texture >= 0:
      repeats[texture] = max(repeats[texture], model.mat_texrepeat[material].max())
  for texture in range(model.ntex):
    if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
      continue
    width, height = int(model.tex_width[texture]), int(model.tex_height[texture])
    channels, start = int(model.tex_nchannel[texture]), int(model.tex_adr[texture])
    texels = model.tex_data[start : start + width * height * channels]
    # A cube's six faces stand one above the other.
    for face in texels.reshape(-1, width, width, channels) if height % width == 0 else ():
      fewer = max(_LEAST, round(width * size / _SHARP_SIZE / repeats[texture]))
      if fewer < width:
        face[...] = _blurred(face, fewer)


def _blurred(face: np.ndarray, fewer: int) -> np.ndarray:
  """A square face uint8 [W, W, C] as `fewer` texels a side would have it, in its own size."""
  width = len(face)
  layers = [Image.fromarray(np.ascontiguousarray(layer)) for layer in face.transpose(2, 0, 1)]
  box, line = Image.Resampling.BOX, Image.Resampling.BILINEAR
  soft = [layer.resize((fewer, fewer), box).resize((width, width), line) for layer in layers]
  return np.stack([np.asarray(layer) for layer in soft], axis=-1)
