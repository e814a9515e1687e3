"""The expert's actions played again, in C and in what stands for Warp."""

import numpy as np
import pytest

from tests.envs.warp.one_by_one import OneByOne
from vipjax.benchmark import warp
from vipjax.envs.warp.reference import read_reference, record_reference


@pytest.fixture
def recorded(scene):
  if not (scene.folder / "expert.npz").is_file():
    record_reference(scene, 1, size=8)
  first = read_reference(scene)
  return first._replace(**{
    name: getattr(first, name)[:1] for name in first._fields if not name.startswith("frame")
  })  # fmt: skip


@pytest.mark.parametrize("play", [warp.play_in_warp, warp.play_in_c])
def test_played_again_an_episode_is_what_it_was(play, scene, recorded, monkeypatch):
  monkeypatch.setattr(warp, "Simulation", OneByOne)
  observations, hands, success = play(scene, recorded)
  before = np.arange(success.shape[1]) <= min(recorded.lengths[0], 20)
  np.testing.assert_allclose(observations[:, before], recorded.observations[:, before], atol=1e-3)
  np.testing.assert_allclose(hands[:, before], recorded.hands[:, before], atol=1e-3)
  assert np.ptp(hands[0, before], axis=0).max() > 0.01
  np.testing.assert_array_equal(success[:, before], recorded.success[:, before])
