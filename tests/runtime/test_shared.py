"""Shared memory: all of it there, or a sentence."""

import errno
import os

import pytest

from vipjax.envs import FrameVectorEnv
from vipjax.runtime import shared
from vipjax.runtime.errors import UserError


def test_a_block_is_as_large_as_asked_and_gone_in_the_end():
  block = shared.make_block(10_000)
  assert len(block.buf) >= 10_000
  block.close()
  block.unlink()


def test_too_little_is_a_sentence_and_leaves_nothing(monkeypatch):
  asked = []

  def full(descriptor, start, size):
    asked.append((os.readlink(f"/proc/self/fd/{descriptor}"), size))
    assert os.fstat(descriptor).st_size == size
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(os, "posix_fallocate", full)
  for ask in (lambda: shared.require(5000), lambda: FrameVectorEnv({"horizon": 2}, 1)):
    with pytest.raises(UserError, match="bytes of shared memory, got 'No space left.*enlarge"):
      ask()
  assert [size for _, size in asked][0] == 5000 and len(asked) == 2
  assert not any(os.path.exists(path) for path, _ in asked)
