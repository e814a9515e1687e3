"""Small moving pictures and ways to spoil files, shared by the tests of this folder."""

from __future__ import annotations

import contextlib
import os

import numpy as np


def moving_picture(length=10, height=48, width=64):
  """Smooth, all different, and with no symmetry that a turned or mirrored frame could hide in."""
  y, x = np.mgrid[:height, :width]
  frames = [
    np.stack(
      [
        128 + 90 * np.sin(x / 9 + time / 2),
        128 + 90 * np.cos(y / 11 - time / 3),
        40 + 150 * (x + 2 * y) / (width + 2 * height),
      ],
      axis=-1,
    )
    for time in range(length)
  ]
  return np.stack(frames).astype(np.uint8)


def psnr(first, second):
  """Peak signal-to-noise ratio in dB of two uint8 arrays."""
  error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
  return 10 * np.log10(255**2 / error)


@contextlib.contextmanager
def without_permission(path):
  """Takes every permission from the path; root, whom permissions do not stop, becomes nobody."""
  path.chmod(0)
  user = os.geteuid()
  if user == 0:
    # pytest's folders are open to their owner alone, so the way to the path is opened too.
    for folder in path.parents:
      if folder != folder.parent and not folder.stat().st_mode & 0o001:
        folder.chmod(folder.stat().st_mode | 0o011)
    os.seteuid(65534)
  try:
    yield
  finally:
    os.seteuid(user)
    path.chmod(0o755)
