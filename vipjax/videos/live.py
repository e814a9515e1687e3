"""Frames as they are filmed: of a camera, of a stream, or of a file played at its own pace."""

from __future__ import annotations

import contextlib
import pathlib
import sys
import threading
import time
from collections.abc import Iterator

import av
import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.videos.decode import upright_rgb

# FFmpeg's name of the first cameras by number, and its format for cameras.
_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}:none", "avfoundation")}
_OPTIONS = {"framerate": "30"}
_TIMEOUT = 10.0  # seconds, of a stream that does not answer


class LiveFrames(contextlib.AbstractContextManager):
  """The newest frame whenever one is asked for; frames that nobody asked for in time are dropped.

  Attributes:
    size: height and width of the frames in pixels, before a rotation that a file may ask for.
    filmed: number of frames that came so far, dropped ones among them.
  """

  def __init__(self, source: str):
    """Opens the camera; iterating films.

    Args:
      source: the number of a camera (Linux, macOS), the path of its device, the address of a stream
        ("rtsp://...", "http://..."), or a video file, which is played once at its own pace.

    Raises:
      UserError: nothing that films is there.
    """
    self.filmed = 0
    self._source = source
    self._container, self._is_paced = self._opened()
    stream = self._container.streams.video[0]
    self.size = stream.height, stream.width
    self._changed = threading.Condition()
    self._newest: tuple[float, av.VideoFrame] | None = None
    self._is_over, self._failure = False, None
    self._thread = threading.Thread(target=self._film, daemon=True)

  def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
    """Yields seconds from the first frame and the newest frame, uint8 [H, W, 3], to the film's end.

    Once only.

    Raises:
      UserError: the stream broke.
    """
    self._thread.start()
    while True:
      with self._changed:
        self._changed.wait_for(lambda: self._newest or self._is_over)
        if self._newest is None:
          break
        (seconds, frame), self._newest = self._newest, None
      yield seconds, upright_rgb(pathlib.Path(self._source), frame)
    if self._failure is not None:
      raise self._unreadable(self._failure) from self._failure

  def close(self) -> None:
    """Ends the film."""
    with self._changed:
      self._is_over = True
      self._changed.notify_all()
    if self._thread.is_alive():
      self._thread.join()
    self._container.close()

  def __exit__(self, *unused):
    self.close()

  def _opened(self) -> tuple[av.container.InputContainer, bool]:
    name, kind, options = self._source, None, {}
    if name.isdecimal() and not pathlib.Path(name).exists():
      if sys.platform not in _CAMERAS:
        raise UserError(
          f"expected the address of a stream on this system, got the camera number {name}; stream "
          "the camera, for instance with ffmpeg, and give the address."
        )
      pattern, kind = _CAMERAS[sys.platform]
      name, options = pattern.format(name), _OPTIONS
    elif pathlib.Path(name).is_char_device():
      kind, options = "v4l2", _OPTIONS
    try:
      container = av.open(name, format=kind, options=options, timeout=_TIMEOUT)
      if not container.streams.video:
        raise ValueError("it has no picture")
    except (av.FFmpegError, OSError, ValueError) as error:
      raise self._unreadable(error) from error
    return container, kind is None and pathlib.Path(name).is_file()

  def _film(self) -> None:
    first = started = None
    try:
      for frame in self._container.decode(video=0):
        now = time.monotonic()
        if started is None:
          first, started = frame.time, now
        seconds = now - started
        if self._is_paced and None not in (first, frame.time):
          early = frame.time - first - seconds
          seconds += early
          with self._changed:
            self._changed.wait_for(lambda: self._is_over, max(early, 0.0))
        with self._changed:
          if self._is_over:
            break
          self.filmed += 1
          self._newest = seconds, frame
          self._changed.notify_all()
    except (av.FFmpegError, OSError) as error:
      self._failure = error
    finally:
      with self._changed:
        self._is_over = True
        self._changed.notify_all()

  def _unreadable(self, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or str(error)
    return UserError(
      f"expected a camera, stream or video file at {self._source}, got '{reason}'; check the name, "
      "and that no other program has the camera."
    )
