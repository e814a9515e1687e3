"""Warp's pictures near OpenGL's: light that ends at one, and soft textures."""

import mujoco
import numpy as np
import pytest

from vipjax.envs.warp.looks import like_opengl

# Light from above: the headlight's .2 and .4 of a camera that looks straight down, and .8.
SCENE = """
<mujoco>
  <visual><headlight ambient=".2 .2 .2" diffuse=".4 .4 .4"/></visual>
  <asset>
    <texture name="dots" type="cube" builtin="flat" mark="random" random=".5" width="64"
      rgb1="0 0 0" markrgb="1 1 1"/>
    <material name="cloth" texture="dots" rgba=".5 1 1 1"/>
    <material name="plain" rgba=".5 1 1 1"/>
  </asset>
  <worldbody>
    <light directional="true" pos="0 0 3" dir="0 0 -1" diffuse=".8 .8 .8" ambient="0 0 0"/>
    <camera name="top" pos="0 0 3"/>
    <geom name="table" type="box" size="1 1 .1" material="cloth"/>
    <geom name="wall" type="box" size="1 .1 1" pos="0 2 0" material="cloth"/>
    <geom name="box" type="box" size="1 1 .1" pos="0 -3 0" material="plain"/>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def model():
  return mujoco.MjModel.from_xml_string(SCENE)


def test_what_lies_flat_gets_the_light_that_opengl_gives_it(model):
  before = model.geom_rgba.copy()
  like_opengl(model, ["top"], 480)
  table = model.geom("table").rgba
  np.testing.assert_allclose(table, [0.5 / 1.4, 1 / 1.4, 1 / 1.4, 1.0], rtol=1e-5)
  # What stands, and what has no texture, keeps its colour.
  for name in ("wall", "box"):
    np.testing.assert_array_equal(model.geom(name).rgba, before[model.geom(name).id])
  assert model.mat("cloth").specular[0] == 0 and model.mat("plain").specular[0] > 0


def test_textures_lose_what_a_small_picture_does_not_show(model):
  sharp = model.tex_data.copy()
  like_opengl(model, ["top"], 480)
  np.testing.assert_array_equal(model.tex_data, sharp)
  like_opengl(model, ["top"], 60)
  soft = model.tex_data.astype(float)
  assert soft.std() < 0.4 * sharp.astype(float).std()
  assert abs(soft.mean() - sharp.mean()) < 3


def test_nothing_is_drawn_and_nothing_changes(model):
  colours = model.geom_rgba.copy()
  like_opengl(model, [], 16)
  np.testing.assert_array_equal(model.geom_rgba, colours)
