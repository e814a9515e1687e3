"""The page of a film that is not over: its distances, its pictures, and the goal chosen on it."""

import io
import json
import socket
import urllib.error
import urllib.request

import jax
import numpy as np
import pytest
from PIL import Image

from tests.videos.clips import moving_picture
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.report.live import Watch, goal_of, served, watch
from vipjax.runtime.errors import UserError

FRAMES = moving_picture(5, 16, 24)


@pytest.fixture(scope="module")
def value():
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))


class Film(list):
  size = (16, 24)


def ask(address, path, data=None):
  with urllib.request.urlopen(address + path, data) as answer:
    return answer.read()


def test_the_page_follows_the_film_and_takes_a_goal(value):
  watched = Watch(value, goal_of("last"))
  embeddings = value.embed(FRAMES, chunk=1)
  expected = np.linalg.norm(embeddings - embeddings[-1], axis=-1)
  with served(watched, 0) as address:
    assert json.loads(ask(address, "/state"))["words"] == "waiting for the first frame"
    watched.see(0.0, FRAMES[-1])
    ask(address, "/goal", b"")
    lines = list(watch(watched, Film(enumerate(FRAMES))))
    assert lines[0].startswith(f"0.0 s: distance {expected[0]:.3g} (100% of the largest), ")
    state = json.loads(ask(address, "/state?from=3"))
    assert state["over"] and state["words"] == lines[-1]
    assert state["next"] == 6 and state["goals"] == 1
    times, distances = np.transpose(state["points"])
    np.testing.assert_array_equal(times, [2, 3, 4])
    np.testing.assert_allclose(distances, expected[2:], rtol=1e-3, atol=1e-3)
    part = ask(address, "/frames").split(b"\r\n\r\n", 1)[1]
    with Image.open(io.BytesIO(part)) as picture:
      assert picture.size == (24, 16)
    assert b"/frames" in ask(address, "/")
    for data in (None, b""):
      with pytest.raises(urllib.error.HTTPError) as error:
        ask(address, "/other", data)
      error.value.close()


def test_without_a_goal_it_waits_for_one(value):
  watched = Watch(value, goal_of("last"))
  watched.take_goal()  # nothing is filmed yet
  watched.see(0.0, FRAMES[0])
  assert "no goal yet" in watched.words() and watched.state(0)["points"] == []
  watched.take_goal()
  assert "a new goal" in watched.words()
  watched.see(1.0, FRAMES[0])
  assert watched.state(0)["points"] == [(1.0, pytest.approx(0.0, abs=1e-4))]


@pytest.mark.parametrize("goal", ["all-last", "frame=3"])
def test_goals_of_a_film_that_has_an_end_are_refused(goal):
  with pytest.raises(UserError, match="files as --goal with --live, got"):
    goal_of(goal)


def test_a_port_that_is_taken():
  with socket.create_server(("127.0.0.1", 0)) as other:
    with pytest.raises(UserError, match="a free port for the page, got --port"):
      with served(None, other.getsockname()[1]):
        pass
