"""What the encoder learns from beside the policy, from a replay made by hand.

A frame is of one colour. With the robot its red is how far the hand went, without it how far the
window; an embedding is that number.
"""

import numpy as np
import pytest

from vipjax.envs import Channel
from vipjax.runtime.errors import UserError
from vipjax.sac.frame_replay import FrameReplay
from vipjax.sac.online_settings import OnlineSettings
from vipjax.sac.own_films import OwnFilms, filmed, rows_showing
from vipjax.scene import View
from vipjax.types import Video

SIZE, HORIZON = 4, 5
FRONT, SIDE = View(azimuth=10.0), View(azimuth=20.0)
CHANNELS = filmed([Channel(FRONT, True)])
HAND, WINDOW = [0, 20, 40, 60, 80, 100], [0, 0, 0, 30, 70, 100]
# Of the hand and of the window: the first mimes it, the second does it, the third never comes far.
MIME = [0, 30, 60, 90, 98, 99], [0] * 6
DEED = [0, 20, 50, 80, 95, 70], [0, 0, 10, 50, 90, 90]
STRAY = [0, 9, 8, 7, 6, 5], [0] * 6


def of_colour(*red):
  """uint8 [..., H, W, 3] of [...]."""
  return np.broadcast_to(
    np.array(red, np.uint8)[..., None, None, None], (*np.shape(red), SIZE, SIZE, 3)
  )


VIDEOS = [
  Video(of_colour(*HAND), view="front", robot_visible=True),
  Video(of_colour(*WINDOW), view="front", robot_visible=False),
]


class Redness:
  """Stands in for a reward: the potential is the red of the hand alone."""

  num_channels = 1

  def potential(self, frames):
    return frames[:, 0, 0, 0, 0].astype(np.float32), None


def embed(frames):
  return frames[:, 0, 0, :1].astype(np.float32)


def played(tmp_path, *rounds):
  """A replay of two environments that play pairs of episodes; at its end they begin anew."""
  frames = FrameReplay(tmp_path / "frames.bin", (2, 2, SIZE, SIZE, 3), 40, 60, 0)
  rows = [of_colour(*np.transpose(pair, (2, 0, 1))) for pair in rounds]  # [T, N, C, ...]
  frames.start(rows[0][0])
  for row, following in zip(rows, [*rows[1:], rows[0]], strict=True):
    for step in range(1, HORIZON + 1):
      frames.add(row[step], np.full(2, step == HORIZON), following[0])
  return frames


def films(frames, videos=VIDEOS, **options):
  online = OnlineSettings(1, **{"clips": 4, "recent": 2, "best": 1, "contrast": 1.0, **options})
  shown = rows_showing(CHANNELS, {"front": FRONT, "side": SIDE}, videos)
  return OwnFilms(online, videos, frames, HORIZON, CHANNELS, shown)


def reds(own, row):
  return own.videos.frames[row, : own.videos.lengths[row], 0, 0, 0].tolist()


def test_the_deed_joins_and_the_mime_is_a_failure_though_its_reward_is_higher(tmp_path):
  own = films(played(tmp_path, (MIME, DEED), (STRAY, STRAY)))
  facts = own.write(Redness(), embed)
  assert facts == {"online_joined": 1, "online_failures": 4}
  # The task's two, the deed up to where hand and window are nearest to the goal, with the robot and
  # without; the two latest; the states of the mime beyond the .53 of the expert before contact.
  assert own.num_task == 4 and len(own.videos.lengths) == 4 + 4 + 1
  assert [reds(own, row) for row in range(9)] == [
    HAND, WINDOW, DEED[0][:5], DEED[1][:5], *STRAY, *STRAY, [99, 98, 90, 60],
  ]  # fmt: skip
  assert (own.contrast.goals, own.contrast.failures) == ((0,), (8,))
  own._frames.close()


def test_where_no_episode_did_it_none_joins(tmp_path):
  own = films(played(tmp_path, (MIME, STRAY)), best=2, clips=0)
  # Rows of an earlier training do not stay.
  own.videos.frames[:], own.videos.lengths[2:] = 7, 3
  for row, video in enumerate(VIDEOS):
    own._fill(row, video.frames)
  assert own.write(Redness(), embed) == {"online_joined": 0, "online_failures": 4}
  assert [reds(own, row) for row in range(2, 7)] == [HAND, WINDOW] * 2 + [[99, 98, 90, 60]]
  # And failures, too, go when there are none.
  own._frames.close()
  other = films(played(tmp_path, (STRAY, DEED)), best=2, clips=0)
  assert other.write(Redness(), embed) == {"online_joined": 1, "online_failures": 0}
  assert other.videos.lengths.tolist() == [6, 6, 5, 5, 6, 6, 0]
  other._frames.close()


def test_an_episode_that_the_simulator_ended_is_not_whole(tmp_path):
  frames = played(tmp_path, (MIME, STRAY))
  frames.add(of_colour([100, 100], [100, 100]), np.ones(2, bool), of_colour([0, 0], [0, 0]))
  own = films(frames)
  assert len(own.whole_episodes()) == 2
  assert own.write(Redness(), embed)["online_joined"] == 0
  frames.close()


def test_without_films_without_the_robot_nobody_is_judged(tmp_path):
  frames, plain = played(tmp_path, (MIME, DEED)), VIDEOS[:1]
  own = films(frames, plain, contrast=0.0)
  assert own.write(Redness(), embed) == {"online_joined": 0}
  assert [reds(own, row) for row in (1, 2)] == [HAND, HAND]
  with pytest.raises(UserError, match=r"with and without the robot .* for config\.policy\.online"):
    films(frames, plain)
  frames.close()


def test_every_view_is_filmed_with_and_without_the_robot():
  found = filmed([Channel(FRONT, False), Channel(SIDE, True), Channel(SIDE, False)])
  assert found == [
    Channel(FRONT, False), Channel(SIDE, True), Channel(SIDE, False), Channel(FRONT, True),
  ]  # fmt: skip


def test_rows_that_show_a_channel():
  frames = of_colour(1, 2)
  videos = [
    Video(frames, view="front"), Video(frames, view="side", robot_visible=False), Video(frames),
    Video(frames, view="front", success=False), Video(frames, view="back"),
  ]  # fmt: skip
  channels = [Channel(FRONT, True), Channel(SIDE, True), Channel(SIDE, False)]
  views = {"front": FRONT, "side": SIDE}
  assert rows_showing(channels, views, videos) == [(0, 2), (2,), (1,)]
