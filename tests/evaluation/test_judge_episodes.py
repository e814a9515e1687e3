"""Judging rewards on one's own episodes: what is compared, what is refused."""

import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

from tests.report.test_page import Page
from tests.videos.clips import assert_one_sentence, moving_picture
from vipjax.encoder import ValueFunction
from vipjax.evaluation import judge_episodes
from vipjax.evaluation.judge_episodes import (
  choose_episodes,
  judge_rewards,
  load_reward,
  read_quality,
  record,
)
from vipjax.report.judged import write_judged
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import open_videos, write_videos


def film(level, length=4):
  """Frames that brighten from 0 to a level."""
  levels = np.linspace(0, level, length).round().astype(np.uint8)
  return np.broadcast_to(levels[:, None, None, None], (length, 16, 16, 3)).copy()


class MeanColour(ValueFunction):
  """An encoder that needs no compilation."""

  def embed(self, frames):
    return frames.mean(axis=(1, 2), dtype=np.float32)


@pytest.fixture
def folder(tmp_path):
  """Of two tasks; the brighter the end, the better, but for one failure."""
  levels = [("a", 200, True), ("a", 180, True), ("a", 90, False), ("b", 150, True),
            ("b", 120, True), ("b", 130, False)]  # fmt: skip
  films = [
    Video(film(level), task=task, success=success, episode=index, view="top", robot_visible=seen)
    for index, (task, level, success) in enumerate(levels)
    for seen in (True, False)
  ]
  write_videos(tmp_path / "films", films)
  return tmp_path / "films"


@pytest.fixture
def module(monkeypatch):
  made = types.ModuleType("my_rewards")
  made.brightness = lambda frames: frames.mean(axis=(1, 2, 3))
  made.of_task = lambda frames, task: np.full(len(frames), ord(task[0])) + np.arange(len(frames))
  made.short = lambda frames: [1.0]
  made.words = lambda frames: "good"
  made.broken = lambda frames: np.full(len(frames), np.nan)
  made.number = 7
  monkeypatch.setitem(sys.modules, "my_rewards", made)


def test_a_function_is_judged_by_hand(folder, module):
  episodes = choose_episodes(open_videos(folder))
  assert [(each.task, each.quality) for each in episodes] == [
    ("a", 1), ("a", 1), ("a", 0), ("b", 1), ("b", 1), ("b", 0),
  ]  # fmt: skip
  judged = judge_rewards(episodes, ["my_rewards:brightness", "my_rewards:of_task"])
  found = judged.estimates["my_rewards:brightness"]
  assert found["voc"].value == found["voc_failed"].value == 1.0
  # All pairs of a, one of the two of b.
  assert judged.by_task["a"]["my_rewards:brightness"]["pairs_ordered"].value == 1.0
  assert found["pairs_ordered"].value == 0.75 and found["kendall_tau"].value == 0.5
  assert found["pairs_ordered"].low <= 0.75 <= found["pairs_ordered"].high
  difference = ((200 + 180) / 2 - 90) / 200 / 2 + ((150 + 120) / 2 - 130) / 150 / 2
  assert found["success_difference"].value == pytest.approx(difference, abs=0.01)
  # The same of every episode, but of each task another.
  other = judged.estimates["my_rewards:of_task"]
  assert other["pairs_ordered"].value == 0.5 and other["kendall_tau"].value == 0.0
  assert judged.values["my_rewards:of_task"][3][0] == ord("b")


def test_goals_of_an_encoder_are_the_ends_of_other_successes(folder, monkeypatch):
  monkeypatch.setattr("vipjax.encoder.load", lambda name: MeanColour(None, None, {}))
  episodes = choose_episodes(open_videos(folder, task="a"))
  judged = judge_rewards(episodes, ["mine"])
  films = [each.video.read().frames for each in episodes]
  colours = [film.mean(axis=(1, 2)) for film in films]
  for index, others in enumerate(([1], [0], [0, 1])):
    goal = np.mean([colours[other][-1] for other in others], axis=0)
    expected = -np.linalg.norm(colours[index] - goal, axis=-1)
    np.testing.assert_allclose(judged.values["mine"][index], expected, rtol=1e-4, atol=1e-4)
  np.save(folder / "goal.npy", films[2])
  named = judge_rewards(episodes, ["mine"], goal=str(folder / "goal.npy"))
  assert named.values["mine"][2][-1] == pytest.approx(0, abs=1e-5)
  with pytest.raises(UserError, match="another success of the task 'a' beside episode 0") as error:
    judge_rewards([episodes[0], episodes[2]], ["mine"])
  assert_one_sentence(error)


def test_the_page(folder, module, tmp_path):
  judged = judge_rewards(choose_episodes(open_videos(folder)), ["my_rewards:brightness"])
  (tmp_path / "out").mkdir()
  path = write_judged(tmp_path / "out", judged, {"command": "<it>"}, 1.0)
  page = Page(path.read_text(encoding="utf-8"))
  for words in ("Kendall τ_a", "arXiv:2411.04549", "arXiv:2603.02115", "<it>", "a (3 episodes)",
                "4 successes, 2 failures", "6 episodes are few", "episode 5, top"):  # fmt: skip
    assert words in page.text
  saved = json.loads((tmp_path / "out/judge.json").read_text())
  assert saved["rewards"] == record(judged)["rewards"]
  assert saved["rewards"]["my_rewards:brightness"]["kendall_tau"]["value"] == 0.5
  assert saved["episodes"][2]["last"] == {"my_rewards:brightness": pytest.approx(90, abs=1)}
  assert len((tmp_path / "out/values.csv").read_text().splitlines()) == 1 + 6 * 4


def test_qualities(tmp_path):
  for name, level in (("x", 200), ("y", 100), ("z", 50)):
    np.save(tmp_path / f"{name}.npy", film(level))
  (tmp_path / "q.csv").write_text("episode,quality,note\nx.npy,0.9,good\ny,0.5,\nz,0,\n")
  (tmp_path / "q.json").write_text('{"x": 0.9, "y.npy": 0.5, "z": 0, "more": 1}')
  for file in ("q.csv", "q.json"):
    quality = read_quality(tmp_path / file)
    episodes = choose_episodes(open_videos(tmp_path), quality)
    assert [(each.quality, each.success) for each in episodes] == [
      (0.9, None), (0.5, None), (0.0, None),
    ]  # fmt: skip
  for name, text, words in (
    ("a.csv", "episode,score\nx,1\n", "the columns episode and quality"),
    ("a.json", "[1]", "a json file {episode: quality}"),
    ("a.txt", "x 1", "a json file {episode: quality}"),
    ("b.csv", "episode,quality\nx,best\n", "the quality of x .* got 'best'"),
  ):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words) as error:
      read_quality(tmp_path / name)
    assert_one_sentence(error)
  with pytest.raises(UserError, match="a quality of y.npy, got those of x") as error:
    choose_episodes(open_videos(tmp_path), {"x": 1.0})
  assert_one_sentence(error)


def test_episodes_that_cannot_be_judged(folder, tmp_path):
  np.save(tmp_path / "a.npy", film(9))
  for videos, words in (
    (open_videos(tmp_path / "a.npy"), "a known outcome of .*a.npy, got none"),
    (open_videos(folder, success=True), "that differ in quality, got 4 with one quality"),
  ):
    with pytest.raises(UserError, match=words) as error:
      choose_episodes(videos)
    assert_one_sentence(error)
  films = [Video(moving_picture(2, 16, 16), view=view, success=True) for view in "lr"]
  write_videos(tmp_path / "two", films)
  with pytest.raises(UserError, match="one camera to judge by, got l, r") as error:
    choose_episodes(open_videos(tmp_path / "two"))
  assert_one_sentence(error)


@pytest.mark.parametrize(
  ("rewards", "words"),
  [
    (["my_rewards:short"], "4 values from my_rewards:short for episode 0, top, .* the shape"),
    (["my_rewards:words"], "4 values .* got str"),
    (["my_rewards:broken"], "finite values from my_rewards:broken .* got 4"),
    (["my_rewards:nothing"], "a function nothing in the module my_rewards, got none"),
    (["my_rewards:number"], "a function number in the module my_rewards, got int"),
    (["no_such_module:f"], "a module no_such_module for the reward"),
    (["my_rewards:brightness"] * 2, "each reward once"),
    ([], "each reward once, got none"),
    (["no/such/run"], "'mini', 'vip-resnet50'"),
  ],
)
def test_rewards_that_do_not_fit(folder, module, rewards, words):
  with pytest.raises(UserError, match=words) as error:
    judge_rewards(choose_episodes(open_videos(folder, task="a")), rewards)
  assert_one_sentence(error)


def test_an_untrained_network_is_a_reward(monkeypatch):
  made = []
  monkeypatch.setattr(judge_episodes, "init_value", lambda key, *rest: made.append(rest))
  load_reward("random")
  mini = load_reward("mini")
  assert made == [(mini.config, mini.preprocessing, {"name": "random"})]


def test_the_launcher(tmp_path):
  """Of folders named by the outcome, with a function of one's own."""
  for name, levels in (("success", (200, 180)), ("failure", (90,))):
    (tmp_path / "films" / name).mkdir(parents=True)
    for level in levels:
      np.save(tmp_path / "films" / name / f"{level}.npy", film(level))
  (tmp_path / "mine.py").write_text("def bright(frames):\n  return frames.mean(axis=(1, 2, 3))\n")
  command = [
    sys.executable, "-m", "launch.judge", f"--data={tmp_path / 'films'}", "--rewards=mine:bright",
    f"--out={tmp_path / 'out'}",
  ]  # fmt: skip
  done = subprocess.run(
    command, cwd=pathlib.Path(__file__).parents[2], capture_output=True, text=True,
    env={**os.environ, "PYTHONPATH": str(tmp_path)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert done.stdout.split()[-1] == str(tmp_path / "out/judge.html")
  saved = json.loads((tmp_path / "out/judge.json").read_text())
  assert saved["rewards"]["mine:bright"]["pairs_ordered"]["value"] == 1.0
  assert "python -m launch.judge --data=" in saved["facts"]["command"]
