"""The real launchers: the published config with small numbers, and the pipeline as a whole."""

import contextlib
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.compilation import FAST
from vipjax.videos import read_videos

ROOT = pathlib.Path(__file__).parents[2]
# How a launcher starts: as users start it, and with a network that compiles sooner.
PLAIN, TINY = "-m", str(pathlib.Path(__file__).with_name("tiny.py"))
SMALL_ENCODER = {
  "encoder.init": "scratch",
  "encoder.arch": "resnet18",
  "encoder.width": 8,
  "encoder.embedding_dim": 16,
  "encoder.size": 32,
  "encoder.resize": 32,
}
SMALL_COUNTS = {
  "finetune.steps": 2,
  "evaluate.unseen_episodes": 0,
  "policy.steps": 27,
  "policy.warmup_steps": 9,
  "policy.eval_every": 18,
  "policy.eval_episodes": 2,
  "policy.final_episodes": 2,
}


# As many devices as users have, one per core, instead of the fake ones of other tests.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": FAST}


def command_of(start, name, config, workdir, overrides=None):
  command = [sys.executable, start, f"launch.{name}", f"--config={config}", f"--workdir={workdir}"]
  return command + [f"--config.{key}={value}" for key, value in (overrides or {}).items()]


def launch(start, name, config, workdir, overrides=None):
  return run(command_of(start, name, config, workdir, overrides))


def run(command):
  return subprocess.run(
    command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900
  )


@pytest.fixture(scope="module")
def published(tmp_path_factory):
  """A run of configs/paper.py, launcher by launcher, with step counts and encoder made small."""
  workdir = tmp_path_factory.mktemp("paper") / "run"
  # Software rendering draws ten of its pictures in a second.
  overrides = {**SMALL_ENCODER, **SMALL_COUNTS, "env.horizon": 100, "record.frame_stride": 2}
  outputs = {}
  for name in ("record", "finetune", "evaluate", "train_policy", "report"):
    done = launch(TINY, name, "configs/paper.py", workdir, overrides)
    assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"
    outputs[name] = done.stdout
  return workdir, outputs


def test_published_settings_stand_in_the_config():
  from configs import paper
  from vipjax.stages.task import filled

  config = filled(paper.get_config())
  assert config.record.size == 480
  assert len(config.views) == 2 and config.record.robot_free and config.record.episodes == 1
  assert config.finetune.steps == 100_000
  assert config.finetune.batch_size == 4
  assert config.finetune.learning_rate == 1e-4
  assert (config.finetune.sampler.name, config.finetune.sampler.rate) == ("exponential", 5.0)
  assert config.finetune.tcc.num_cycles == 20 and config.finetune.tcc.videos_per_cycle == 4
  assert (config.env.horizon, config.policy.discount) == (200, 0.99)
  assert config.policy.steps == 2_000_000 and config.policy.num_envs == 9
  assert (config.reward.form, config.reward.scale) == ("difference", 1.0)
  assert config.encoder.init == "vip-resnet50"
  # Additions to the published method are off.
  assert paper.additions(config) == []


def test_record_writes_four_videos_that_can_be_read(published):
  videos = read_videos(published[0] / "videos")
  assert [(video.view, video.robot_visible) for video in videos] == [
    ("front", True), ("front", False), ("side", True), ("side", False),
  ]  # fmt: skip
  assert all(video.frames.shape[1:] == (480, 480, 3) and video.success for video in videos)
  with_robot, without = videos[0].frames.astype(int), videos[1].frames.astype(int)
  # The robot is red: it is in one and not in the other.
  red = lambda x: (x[..., 0] - x[..., 1] > 90).mean()  # noqa: E731
  assert red(with_robot) > 0.02 > 0.002 > red(without)


def test_each_stage_leaves_what_the_next_one_reads(published):
  workdir, outputs = published
  assert (workdir / "encoder" / "model.safetensors").is_file()
  curves = json.loads((workdir / "evaluation.json").read_text())
  assert len(curves["after"]["recorded"]) == 4
  assert "rank_correlation_recorded" in outputs["evaluate"]
  assert (workdir / "policy" / "final.mp4").is_file()
  assert "of 2 evaluation episodes" in outputs["train_policy"]
  assert (workdir / "report.html").stat().st_size > 100_000


def test_a_run_is_measured_by_its_own_config(published):
  workdir, outputs = published
  command = [sys.executable, TINY, "launch.evaluate", f"--workdir={workdir}"]
  again = run(command)
  assert again.returncode == 0, again.stderr[-3000:]
  assert again.stdout == outputs["evaluate"]
  nowhere = run([*command[:-1], f"--workdir={workdir / 'videos'}"])
  assert nowhere.returncode == 1 and "expected a run folder" in nowhere.stderr


def test_a_saved_policy_acts(published):
  from vipjax.sac import load_actor

  actions = load_actor(published[0])(np.zeros((3, 51), np.float32))
  assert actions.shape == (3, 8) and np.abs(actions).max() <= 1


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("demo") / "run"
  overrides = {
    **SMALL_ENCODER, **SMALL_COUNTS, "evaluate.unseen_episodes": 1, "record.size": 32,
    "finetune.batch_size": 2, "env.horizon": 100, "finetune.steps": 6,
    "finetune.checkpoint_every": 2, "policy.checkpoint_every": 9,
  }  # fmt: skip
  return workdir, overrides, launch(TINY, "pipeline", "configs/demo.py", workdir, overrides)


def test_pipeline_ends_in_results_and_a_report(demo):
  workdir, overrides, done = demo
  assert done.returncode == 0, done.stderr[-3000:]
  results = json.loads((workdir / "results.json").read_text())
  assert {
    "policy_success", "rank_correlation_unseen", "rank_correlation_before", "peak_memory_mb",
    "seeds", "additions", "command",
  } <= set(results)  # fmt: skip
  command = command_of(PLAIN, "pipeline", "configs/demo.py", workdir, overrides)
  assert shlex.split(results["command"]) == ["python", *command[1:]]
  assert set(results["seconds"]) == {"record", "finetune", "evaluate", "policy"}
  assert any(addition["name"] == "reward.robot_free_weight" for addition in results["additions"])
  assert "policy success" in done.stdout and str(workdir / "report.html") in done.stdout
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  assert {row["stage"] for row in rows} == {"finetune", "policy"}


def test_the_reward_may_come_of_plain_frames_alone(demo, tmp_path):
  overrides = {
    **demo[1], "reward.robot_free": "predicted", "robot_free.steps": 2, "robot_free.batch_size": 2,
    "robot_free.random_episodes": 1, "evaluate.off_path_episodes": 1,
  }  # fmt: skip
  done = launch(TINY, "pipeline", "configs/demo.py", tmp_path / "run", overrides)
  assert done.returncode == 0, done.stderr[-3000:]
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  assert set(results["seconds"]) == {"record", "finetune", "robot_free", "evaluate", "policy"}
  assert results["robot_free_error"] > 0 and "reward" in results["off_path"]
  assert any(addition["name"] == "reward.robot_free" for addition in results["additions"])
  films = read_videos(tmp_path / "run" / "robots")
  assert [(film.view, film.robot_visible) for film in films] == [("front", True), ("front", False)]
  assert "error of the robot-free encoders" in (tmp_path / "run" / "report.html").read_text()


def test_of_ones_own_videos_fine_tuning_makes_what_looks_past_the_robot(demo, tmp_path):
  overrides = {
    **demo[1], "data.path": demo[0] / "videos", "finetune.steps": 2,
    "reward.robot_free": "predicted", "robot_free.steps": 2, "robot_free.batch_size": 2,
  }  # fmt: skip
  done = launch(TINY, "finetune", "configs/demo.py", tmp_path / "run", overrides)
  assert done.returncode == 0, done.stderr[-3000:]
  made = tmp_path / "run" / "encoder_robot_free"
  assert [(made / name / "model.safetensors").is_file() for name in ("0", "1")] == [True, True]
  refused = {**overrides, "policy.online.every": 9}
  done = launch(TINY, "finetune", "configs/demo.py", tmp_path / "other", refused)
  assert done.returncode == 1 and "got policy.online.every = 9; change" in done.stderr
  assert not (tmp_path / "other" / "encoder").exists()


def test_pipeline_again_says_that_it_is_finished(demo):
  workdir, overrides, _ = demo
  before = (workdir / "report.html").stat().st_mtime_ns
  again = launch(PLAIN, "pipeline", "configs/demo.py", workdir, overrides)
  assert again.returncode == 0 and "is finished" in again.stdout
  assert (workdir / "report.html").stat().st_mtime_ns == before


def test_a_run_repeats_to_the_same_numbers_from_its_own_folder(demo, tmp_path):
  workdir, _, _ = demo
  command = [
    sys.executable,
    TINY,
    "launch.reproduce",
    f"--workdir={workdir}",
    f"--out={tmp_path}/run",
  ]
  same = run(command)
  assert same.returncode == 0, same.stdout + same.stderr[-3000:]
  assert "gave the same numbers" in same.stdout
  assert_same_files(tmp_path / "run", workdir)
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  # As the command above, which has run.
  again = ["launch.reproduce", f"--workdir={tmp_path}/run", f"--out={tmp_path}/run_again"]
  assert shlex.split(results["command"]) == ["python", "-m", *again]
  (tmp_path / "run" / "results.json").write_text(json.dumps({**results, "policy_return": 1e9}))
  command[3:] = [f"--workdir={tmp_path}/run", f"--out={workdir}"]
  other = run(command)
  assert other.returncode == 2 and "results: policy_return was 1000000000.0, is" in other.stdout
  assert run([*command[:3], f"--workdir={workdir}"]).returncode == 1


def films(folder):
  return [
    path.read_bytes()
    for part in ("videos", "unseen")
    for path in sorted(folder.glob(f"{part}/*.mp4"))
  ]


def assert_same_files(folder, reference):
  """Beyond the numbers: the same films, weights, metrics and actor, bit for bit."""
  assert films(folder) == films(reference)
  for made in ("encoder/model.safetensors", "policy/actor.safetensors", "metrics.jsonl"):
    assert (folder / made).read_bytes() == (reference / made).read_bytes(), made


def test_killed_at_any_moment_it_ends_in_the_same_bits(demo, tmp_path):
  workdir, overrides, _ = demo
  command = command_of(TINY, "pipeline", "configs/demo.py", tmp_path / "run", overrides)
  started = time.monotonic()
  assert run([sys.executable, PLAIN, "launch.pipeline", "--help"]).returncode == 0
  imports = time.monotonic() - started
  rng = np.random.default_rng()  # other moments in every run of the tests
  for number in range(4):
    # In a session of its own, so that its workers die with it.
    process = subprocess.Popen(
      command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
      start_new_session=True,
    )  # fmt: skip
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(imports * rng.uniform(2, 6 + 2 * number))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
  done = run(command)
  assert done.returncode == 0, done.stderr[-3000:]
  assert_same_files(tmp_path / "run", workdir)


def test_another_config_in_the_same_folder_is_refused(demo):
  workdir, overrides, _ = demo
  other = launch(PLAIN, "pipeline", "configs/demo.py", workdir, {**overrides, "finetune.steps": 3})
  assert other.returncode == 1
  assert "finetune.steps" in other.stderr and "Traceback" not in other.stderr


@pytest.mark.parametrize(
  ("overrides", "sentence"),
  [
    ({"finetune.stepz": 5}, "finetune.stepz"),
    ({"finetune.tcc.videos_per_cycle": 6, "finetune.tcc.num_cycles": 20}, "at least 6 videos for"),
    ({"finetune.sampler.name": "normal"}, "uniform, exponential, beta, prioritised, got 'normal'"),
    ({"data.path": "nowhere"}, "nowhere"),
  ],
)
def test_bad_input_is_one_sentence(tmp_path, demo, overrides, sentence):
  workdir, small, _ = demo
  overrides = {**small, "data.path": workdir / "videos", **overrides}
  done = launch(PLAIN, "finetune", "configs/demo.py", tmp_path / "run", overrides)
  assert done.returncode == 1
  lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
  assert len(lines) == 1 and sentence in lines[0]
  assert "Traceback" not in done.stderr
