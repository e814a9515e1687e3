"""A page that shows the distance to a goal as it is filmed, served from this machine alone."""

from __future__ import annotations

import contextlib
import http.server
import importlib.resources
import io
import json
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Iterator

import jax
import numpy as np
from PIL import Image

from vipjax.encoder import ValueFunction
from vipjax.reward.goals import LAST, Goal, embed_goal, find_goals, names_files
from vipjax.runtime.errors import UserError
from vipjax.videos.live import LiveFrames

_ADDRESS = "127.0.0.1"
_REMEMBERED = 20_000  # distances
_OVER = 2.0  # seconds, over which the rate is measured
_PICTURES = 1 / 15  # seconds between two pictures of the page


class Watch:
  """What is filmed, and how far from the goal it is; shared by the loop and the page's threads."""

  def __init__(self, value: ValueFunction, goal: Goal | None, goal_reduction: str = "mean"):
    """Embeds the goal.

    Args:
      value: the value function.
      goal: None until somebody says that the present picture is it.
      goal_reduction: of several goal frames the "mean" embedding, or the "nearest" counts.
    """
    # On the device once, not with each frame.
    self._value = value.replace(variables=jax.device_put(value.variables))
    self._goal = None if goal is None else embed_goal(value, goal, goal_reduction)
    self._lock = threading.Lock()
    self._points: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
    self._moments: deque[float] = deque()
    self._embedding: np.ndarray | None = None
    self._goals, self._most = 0, 0.0
    self.frame: np.ndarray | None = None
    self.measured, self.is_over = 0, False

  def prepare(self, size: tuple[int, int]) -> None:
    """Compiles for frames of this height and width, while nothing is filmed."""
    self._value.embed(np.zeros((1, *size, 3), np.uint8), chunk=1)

  def see(self, seconds: float, frame: np.ndarray) -> None:
    """Measures one frame, uint8 [H, W, 3], filmed `seconds` after the first."""
    embedding = self._value.embed(frame[None], chunk=1)
    with self._lock:
      self.frame, self._embedding = frame, embedding
      if self._goal is not None:
        self._points.append((seconds, float(self._value.distances(embedding, self._goal)[0])))
        self._most = max(self._most, self._points[-1][1])
      self.measured += 1
      self._moments.append(time.monotonic())
      while self._moments[-1] - self._moments[0] > _OVER:
        self._moments.popleft()

  def take_goal(self) -> None:
    """Makes the present picture the goal; distances begin anew."""
    with self._lock:
      if self._embedding is not None:
        self._goal = self._embedding
        self._points.clear()
        self._most = 0.0
        self._goals += 1

  def words(self) -> str:
    """One line: distance and frames per second."""
    with self._lock:
      moments, points = self._moments, self._points
      if not moments:
        return "waiting for the first frame"
      rate = (len(moments) - 1) / max(moments[-1] - moments[0], 1e-6)
      if self._goal is None:
        return f"no goal yet: say on the page which picture is it; {rate:.1f} frames/s"
      if not points:
        return f"a new goal; {rate:.1f} frames/s"
      (seconds, distance), most = points[-1], self._most
      share = f" ({distance / most:.0%} of the largest)" if most else ""
      return f"{seconds:.1f} s: distance {distance:.3g}{share}, {rate:.1f} frames/s"

  def state(self, start: int) -> dict[str, object]:
    """What the page asks for: the distances from the one of number `start` on."""
    words = self.words()
    with self._lock:
      first = self.measured - len(self._points)
      new = list(self._points)[max(start - first, 0) :]
      return {
        "points": new, "next": self.measured, "goals": self._goals, "words": words,
        "over": self.is_over,
      }  # fmt: skip


def goal_of(goal: str) -> Goal | None:
  """The goal of a film that has no end yet.

  Args:
    goal: image or video files with commas between them; "last" for the one that is chosen while it
      is filmed.

  Raises:
    UserError: a goal of another form, or a file that cannot be read.
  """
  if goal == LAST:
    return None
  if not names_files(goal):
    raise UserError(
      f"expected image or video files as --goal with --live, got {goal!r}; give them, or leave "
      "--goal out and choose the goal on the page."
    )
  return find_goals(goal, [np.empty(0)], ["the film"])[0]


def watch(watched: Watch, live: LiveFrames) -> Iterator[str]:
  """Measures the newest frame again and again; yields a line of words after each."""
  watched.prepare(live.size)
  try:
    for seconds, frame in live:
      watched.see(seconds, frame)
      yield watched.words()
  finally:
    watched.is_over = True


@contextlib.contextmanager
def served(watched: Watch, port: int) -> Iterator[str]:
  """Within the block the page is at the address that this gives, for this machine alone.

  Args:
    watched: what it shows.
    port: 0 takes a free one.

  Raises:
    UserError: the port is taken.
  """
  page = importlib.resources.files("vipjax.report").joinpath("live.html").read_bytes()
  try:
    server = http.server.ThreadingHTTPServer((_ADDRESS, port), _handler(watched, page))
  except (OSError, OverflowError) as error:
    raise UserError(
      f"expected a free port for the page, got --port={port} ('{error}'); choose another, or 0 for "
      "any."
    ) from error
  server.daemon_threads = True
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield f"http://{_ADDRESS}:{server.server_address[1]}"
  finally:
    watched.is_over = True
    server.shutdown()
    server.server_close()
    thread.join()


def _handler(watched: Watch, page: bytes) -> type[http.server.BaseHTTPRequestHandler]:
  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      address = urllib.parse.urlsplit(self.path)
      if address.path == "/":
        self._answer("text/html; charset=utf-8", page)
      elif address.path == "/state":
        start = urllib.parse.parse_qs(address.query).get("from", ["0"])[0]
        state = watched.state(int(start) if start.isdecimal() else 0)
        self._answer("application/json", json.dumps(state).encode())
      elif address.path == "/frames":
        self._frames()
      else:
        self.send_error(404)

    def do_POST(self):
      if self.path != "/goal":
        self.send_error(404)
        return
      watched.take_goal()
      self._answer("text/plain", b"")

    def _answer(self, kind: str, body: bytes) -> None:
      self.send_response(200)
      self.send_header("Content-Type", kind)
      self.send_header("Content-Length", str(len(body)))
      self.end_headers()
      self.wfile.write(body)

    def _frames(self) -> None:
      """The newest picture again and again, as JPEGs (MJPEG)."""
      self.send_response(200)
      self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
      self.end_headers()
      shown = None
      with contextlib.suppress(OSError):  # the page was closed
        while shown is not watched.frame or not watched.is_over:
          if watched.frame is not shown:
            shown = watched.frame
            picture = io.BytesIO()
            Image.fromarray(shown).save(picture, format="JPEG")
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n")
            self.wfile.write(picture.getvalue() + b"\r\n")
          time.sleep(_PICTURES)

    def log_message(self, *unused):
      pass

  return Handler
