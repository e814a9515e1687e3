"""Runs that cannot be repeated; tests/launch/test_pipeline.py repeats one."""

import pytest

from configs import demo, paper
from vipjax.experiments.reproduce import reproduce
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError


def test_an_unfinished_run_is_one_sentence(tmp_path):
  run = run_folder.open_run(tmp_path / "run", demo.get_config())
  with pytest.raises(UserError, match="expected a finished run in .*run, got one without results"):
    reproduce(run, tmp_path / "again", paper.get_config(), paper.additions)
  assert not (tmp_path / "again").exists()
  with pytest.raises(UserError, match="another folder than --workdir"):
    reproduce(run, run, paper.get_config(), paper.additions)
