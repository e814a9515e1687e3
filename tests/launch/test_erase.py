"""Erasing a robot by the launcher, and fine-tuning on what it writes."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from configs import demo
from tests.report.test_page import Page
from tests.scene.test_silhouette import MODEL
from tests.videos.clips import moving_picture
from tests.videos.sam2_networks import write_networks
from tests.videos.test_erase import passing_block
from vipjax.encoder import resnet
from vipjax.stages.finetune import finetune
from vipjax.videos import read_videos

ROOT = pathlib.Path(__file__).parents[2]
FRAMES, MASKS, BACKGROUND = passing_block()


def launch(*flags):
  command = [sys.executable, "-m", "launch.erase", *map(str, flags)]
  return subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
  folder = tmp_path_factory.mktemp("films")
  np.save(folder / "b.npy", FRAMES)
  np.save(folder / "a.npy", FRAMES[::-1])
  return folder


def test_films_become_pairs_that_finetuning_reads(films, tmp_path, monkeypatch):
  out = tmp_path / "erased"
  done = launch(f"--videos={films}", f"--out={out}")
  assert done.returncode == 0, done.stderr
  assert done.stdout.split()[-1] == str(out / "erase.html")
  assert "warning: The masks are of what moves, and know no robot" in done.stderr
  videos = read_videos(out)
  assert [(video.episode, video.robot_visible) for video in videos] == [
    (0, True), (0, False), (1, True), (1, False),
  ]  # fmt: skip
  for plain, free in (videos[:2], videos[2:]):
    block = (np.abs(plain.frames.astype(int) - BACKGROUND).max(axis=-1) > 60).sum()
    left = (np.abs(free.frames.astype(int) - BACKGROUND).max(axis=-1) > 60).sum()
    assert left < 0.2 * block
  page = Page((out / "erase.html").read_text(encoding="utf-8"))
  for words in ("Filled flat", "what moves", "episode 0", "python -m launch.erase", "24 frames"):
    assert words in page.text
  assert len(page.all("video")) == 2
  # Nothing that is there is lost.
  again = launch(f"--videos={films}", f"--out={out}")
  assert again.returncode == 1 and "pass --overwrite" in again.stderr
  assert launch(f"--videos={films}", f"--out={films}", "--overwrite").returncode == 1
  assert launch(f"--videos={films}", f"--out={tmp_path}", "--overwrite").returncode == 1
  assert len(read_videos(films)) == 2 and out.is_dir()

  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  config = demo.get_config()
  config.update_from_flattened_dict({
    "encoder.init": "scratch", "encoder.width": 8, "encoder.embedding_dim": 8, "encoder.size": 16,
    "encoder.resize": 16, "finetune.steps": 2, "finetune.batch_size": 2, "finetune.tcc.weight": 0.0,
    "data.path": str(out), "data.size": 16, "finetune.composites.fixed_arms": 0,
    "finetune.composites.detours": 0,
  })  # fmt: skip
  facts = finetune(config, tmp_path / "run")
  assert facts["videos"] == 4 and np.isfinite(facts["loss"])


def test_given_and_drawn_masks(films, tmp_path):
  masks = np.repeat(MASKS[..., None] * np.uint8(255), 3, axis=-1)
  np.save(tmp_path / "masks.npy", masks)
  flags = [f"--videos={films / 'b.npy'}", "--grow=1", "--feather=0", f"--out={tmp_path / 'out'}"]
  done = launch(*flags, f"--masks={tmp_path / 'masks.npy'}")
  assert done.returncode == 0, done.stderr
  # The block is in the last frame, too.
  assert done.stderr.count("warning") == 1 and "3.3% of the last frames" in done.stderr
  np.testing.assert_array_equal(read_videos(tmp_path / "out")[1].frames[0], BACKGROUND)
  (tmp_path / "model.xml").write_text(MODEL)
  rows = "".join(f"{0.05 * time},0\n" for time in range(12))
  (tmp_path / "angles.csv").write_text(f"slide,turn\n{rows}")
  model = [f"--model={tmp_path / 'model.xml'}", "--camera=above", "--body=arm"]
  done = launch(*flags, "--overwrite", *model, f"--joints={tmp_path / 'angles.csv'}")
  assert done.returncode == 0, done.stderr
  assert "drawn from" in Page((tmp_path / "out" / "erase.html").read_text()).text


def test_masks_of_what_is_clicked_on(tmp_path):
  frames, _, background = passing_block(24)
  np.save(tmp_path / "film.npy", frames)
  write_networks(tmp_path)
  done = launch(
    f"--videos={tmp_path / 'film.npy'}", f"--sam2={tmp_path}", "--click=8,38",
    f"--out={tmp_path / 'out'}",
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  free = read_videos(tmp_path / "out")[1]
  assert np.abs(free.frames[:20].astype(int) - background).max(axis=-1).mean() < 2
  assert "of what was clicked on" in Page((tmp_path / "out" / "erase.html").read_text()).text


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    ((), "expected --out=VALUE, got none"),
    (
      ("--out=x", "--model=m", "--masks=m", "--camera=c"),
      "expected masks, a model or SAM 2, got more",
    ),
    (("--out=x", "--sam2=m"), "expected --sam2 and --click together"),
    (("--out=x", "--click=1,2"), "expected --sam2 and --click together"),
    (("--out=x", "--sam2=m", "--click=1"), "expected a click as X,Y, X,Y@FRAME"),
    (("--out=x", "--model=m"), "expected --model and --camera together, got --model alone"),
    (("--out=x", "--camera=c"), "expected --model and --camera together, got --camera alone"),
    (("--out=x", "--grow=-1"), "expected another --grow"),
  ],
)
def test_flags_that_do_not_fit(films, flags, sentence):
  done = launch(f"--videos={films}", *flags)
  assert done.returncode == 1 and sentence in done.stderr and done.stderr.count("\n") == 1


def test_a_camera_that_moves_leaves_nothing(tmp_path):
  still = moving_picture(1, 96, 96)[0]
  still[::7, ::5] = 255
  np.save(tmp_path / "film.npy", np.stack([np.roll(still, 2 * t, axis=1) for t in range(8)]))
  done = launch(f"--videos={tmp_path / 'film.npy'}", f"--out={tmp_path / 'out'}")
  assert done.returncode == 1 and "a camera that stands still" in done.stderr
  assert sorted(path.name for path in tmp_path.iterdir()) == ["film.npy"]
