"""Frames that say which episode and time they show; those who write test data import nothing else.

Red is the episode, green the column, blue the time.
"""

import numpy as np

# (frames, task, success) of each episode.
EPISODES = [
  (5, "open the drawer", True),
  (7, "close the drawer", False),
  (6, "open the drawer", True),
]
SIZES = {"top": (48, 64), "wrist": (32, 32)}


def drawn(camera, episode, time):
  """uint8 [H, W, 3]."""
  height, width = SIZES[camera]
  frame = np.zeros((height, width, 3), np.uint8)
  frame[..., 0] = 60 + 40 * episode
  frame[..., 1] = np.linspace(0, 255, width).astype(np.uint8)
  frame[..., 2] = 20 + 15 * time
  return frame


def episode(camera, number):
  """uint8 [T, H, W, 3]."""
  return np.stack([drawn(camera, number, time) for time in range(EPISODES[number][0])])
