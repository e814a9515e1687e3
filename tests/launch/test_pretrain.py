"""launch.record and launch.pretrain as users run them, on a corpus of one task."""

import json
import os
import pathlib
import subprocess
import sys

from tests.compilation import FAST

ROOT = pathlib.Path(__file__).parents[2]
SMALL = {
  "corpus.only": "('drawer-open',)", "corpus.controls": "('torque',)", "corpus.size": 24,
  "corpus.frame_stride": 8, "corpus.expert_episodes": 1, "corpus.recovering_episodes": 0,
  "corpus.noisy_episodes": 0, "corpus.random_episodes": 0, "encoder.width": 8,
  "encoder.embedding_dim": 8, "encoder.size": 16, "encoder.resize": 16, "finetune.batch_size": 2,
  "finetune.steps": 2, "pretrain.stages": "('base','gamma96')",
  "pretrain.gamma96.finetune.steps": 1,
}  # fmt: skip


def launch(name, workdir):
  tiny = [sys.executable, str(pathlib.Path(__file__).with_name("tiny.py")), f"launch.{name}"]
  flags = ["--config=configs/pretrain.py", f"--workdir={workdir}"]
  flags += [f"--config.{key}={value}" for key, value in SMALL.items()]
  environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": FAST}
  return subprocess.run(
    tiny + flags, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
  )


def test_a_corpus_is_recorded_and_all_stages_are_trained_on_it(tmp_path):
  recorded = launch("record", tmp_path / "run")
  assert recorded.returncode == 0, recorded.stderr
  lines = recorded.stdout.splitlines()
  assert [line.split()[:2] for line in lines] == [["4", "videos,"]] * 2
  assert [line.split("/")[-2] for line in lines] == ["base", "gamma96"]
  trained = launch("pretrain", tmp_path / "run")
  assert trained.returncode == 0, trained.stderr
  assert trained.stdout.splitlines() == [
    "base: 2 steps on 4 videos", "gamma96: 1 steps on 4 videos",
    f"encoder in {tmp_path / 'run' / 'encoder'}",
  ]  # fmt: skip
  artefact = json.loads((tmp_path / "run" / "encoder" / "config.json").read_text())
  assert artefact["metadata"]["stages"] == {"base": 2, "gamma96": 1}
