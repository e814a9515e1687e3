"""Work in several processes."""

import functools
import os

import pytest

from vipjax.runtime.processes import share_out


def divided(by: int, number: int) -> tuple[int, float, int]:
  return number, number / by, os.getpid()


def test_every_job_is_done_in_another_process():
  done = list(share_out(functools.partial(divided, 2), [1, 2, 3], per_process=2))
  assert sorted(each[:2] for each in done) == [(1, 0.5), (2, 1.0), (3, 1.5)]
  assert os.getpid() not in {pid for *_, pid in done}


def test_an_error_of_the_work_is_raised():
  with pytest.raises(ZeroDivisionError):
    list(share_out(functools.partial(divided, 0), [1], per_process=1))
