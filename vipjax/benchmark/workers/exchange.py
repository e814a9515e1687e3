"""What both sides of a peer's pipe need: arrays as JSON, and seconds of compilation."""

import functools
import time

import numpy as np


def pack(array):
  """Returns an array as JSON takes it: its shape, and its numbers as float32 in hexadecimal."""
  array = np.asarray(array, "<f4")
  return {"shape": array.shape, "float32": array.tobytes().hex()}


def unpack(packed):
  """Returns the float32 array that was packed; it can be written to."""
  flat = np.frombuffer(bytearray.fromhex(packed["float32"]), "<f4")
  return flat.reshape(packed["shape"])


@functools.cache
def compile_clock():
  """Returns a function that tells the seconds that JAX has spent on tracing and compiling here.

  It counts from the first call on; only one clock runs in a process.
  """
  import jax

  spans = []

  def note(event, seconds, **_):
    if event.startswith("/jax/core/compile/"):
      end = time.perf_counter()
      # What happened within this event has been noted before it.
      while spans and spans[-1][0] >= end - seconds:
        spans.pop()
      spans.append((end - seconds, end))

  jax.monitoring.register_event_duration_secs_listener(note)
  return lambda: sum(end - start for start, end in spans)
