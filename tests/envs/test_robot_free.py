"""Any MuJoCo environment's pictures without its robot, against scenes that never had one."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from tests.envs.pusher import PusherEnv, write_scenes
from vipjax.envs import RobotEnv, RobotFreeView
from vipjax.runtime.errors import UserError


@pytest.fixture(scope="module")
def envs(tmp_path_factory):
  """With the arm; without it."""
  both = [PusherEnv(path) for path in write_scenes(tmp_path_factory.mktemp("scenes"))]
  for env in both:
    env.reset(seed=0)
  yield both
  for env in both:
    env.close()


def colours(model):
  names = ("geom_rgba", "geom_matid", "site_rgba", "site_matid")
  return np.concatenate([getattr(model, name).ravel() for name in names])


def test_the_picture_is_that_of_a_scene_without_the_robot(envs):
  env, bare = envs
  before, kept = env.render(), colours(env.model)
  for _ in range(2):
    plain, free = RobotFreeView(env, "arm").frames()
    bare_view = RobotFreeView(bare, "box")
    np.testing.assert_array_equal(free, bare_view.frames()[0])
    shown, dot = (plain != free).any(-1), (plain != before).any(-1)
    assert 10 < shown.sum() < 100 and 1 < dot.sum() < 20 and not (shown & dot).all()
    for each in envs:
      each.step(np.array([1.0]))
    before = env.render()
  np.testing.assert_array_equal(colours(env.model), kept)


def test_geoms_and_several_names(envs):
  env, _ = envs
  whole = RobotFreeView(env, "arm").frames()
  np.testing.assert_array_equal(RobotFreeView(env, ["upper", "hand"]).frames(), whole)
  fist = RobotFreeView(env, ("fist",)).frames()[1]
  assert (fist != whole[1]).any() and (fist != whole[0]).any()


def test_colours_come_back_when_drawing_fails(envs, monkeypatch):
  env, _ = envs
  view, kept = RobotFreeView(env, "arm"), colours(env.model)
  monkeypatch.setattr(env, "render", lambda: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    view.frames()
  np.testing.assert_array_equal(colours(env.model), kept)


@pytest.mark.parametrize("name", ["robot0:base_link", "", "arm "])
def test_a_name_of_nothing_lists_the_roots(envs, name):
  with pytest.raises(UserError) as error:
    RobotFreeView(envs[0], name)
  assert f"(on its world stand arm, box), got {name!r}; name the root" in str(error.value)


def test_other_shells_are_looked_into(envs):
  env = envs[0]
  places = [
    {"sim": SimpleNamespace(model=SimpleNamespace(_model=env.model)), "model": "robosuite's own"},
    {"physics": SimpleNamespace(model=SimpleNamespace(ptr=env.model))},
  ]
  for place in places:
    shell = gymnasium.Env()
    vars(shell).update(place, render=env.render, render_mode="rgb_array")
    frames = RobotFreeView(gymnasium.Wrapper(shell), "arm").frames()
    np.testing.assert_array_equal(frames, RobotFreeView(env, "arm").frames())


def test_what_has_no_model_is_refused():
  shell = gymnasium.Env()
  shell.render_mode = "rgb_array"
  with pytest.raises(UserError, match="an environment with a MuJoCo model.*got <.*; leave out"):
    RobotFreeView(shell, "arm")


def test_our_environments_draw_what_their_films_show():
  with RobotEnv(size=64, placement=0) as env:
    env.reset(seed=0)
    frames = RobotFreeView(env, env.robot.base_body).frames()
    for frame, visible in zip(frames, (True, False), strict=True):
      np.testing.assert_array_equal(frame, env.frame(env.view, visible))


def test_fetch():
  robotics = pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed")
  gymnasium.register_envs(robotics)
  with gymnasium.make("FetchPush-v4", render_mode="rgb_array", width=96, height=96) as env:
    env.reset(seed=0)
    plain, free = RobotFreeView(env, "robot0:base_link").frames()
    hidden = (plain != free).any(-1).mean()
    assert 0.05 < hidden < 0.2
    # Its arm is blue and nothing else is.
    blue = [
      (frame[..., 2] > 1.3 * frame[..., 0].astype(int) + 40).mean() for frame in (plain, free)
    ]
    assert blue[0] > 0.005 and blue[1] == 0
