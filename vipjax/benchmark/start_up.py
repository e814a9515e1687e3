"""Times the start of fine-tuning up to its first step, with and without cached programs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

# The work of launch.finetune before its first step, at the demo's sizes and without its videos.
_SCRIPT = """
from vipjax.runtime.cache import use_compilation_cache
use_compilation_cache()
import jax, numpy as np
import vipjax
from vipjax.finetune import Settings, TccSettings, init_state, make_train_step, step_devices
from vipjax.finetune.step import frames_per_step
from vipjax.runtime import parallel
from vipjax.types import VideoSet
settings = Settings(batch_size={clips}, then_resize=0, tcc=TccSettings(num_cycles=0, frames=8))
value = vipjax.load("mini")
videos = VideoSet(np.zeros((4, 40, 128, 128, 3), np.uint8), np.full(4, 40, np.int32))
devices = step_devices(frames_per_step(settings, 4))
step = parallel.compile_step(make_train_step(value, settings, 4), devices)
state = parallel.replicate(init_state(jax.random.key(0), value, settings), devices)
jax.block_until_ready(step(state, parallel.replicate(videos, devices)))
"""


def rows(repeats: int, clips: int = 16) -> list[dict[str, Any]]:
  """Returns seconds from the start of a process to the end of its first fine-tuning step.

  Args:
    repeats: number of processes with a filled cache, after one with an empty cache.
    clips: clips in a batch.

  Returns:
    Two rows with "compiled programs" and "seconds".
  """
  script = _SCRIPT.format(clips=clips)
  with tempfile.TemporaryDirectory() as folder:
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": folder}
    seconds = []
    for _ in range(1 + repeats):
      started = time.perf_counter()
      subprocess.run([sys.executable, "-c", script], check=True, env=environment)
      seconds.append(time.perf_counter() - started)
  return [
    {"compiled programs": "none yet", "seconds": seconds[0]},
    {"compiled programs": "from the cache", "seconds": float(np.median(seconds[1:]))},
  ]
