"""HTML that escapes by default: text is text unless it was made here."""

from __future__ import annotations

import base64
import functools
import html
import importlib.resources
import io
import pathlib
import re
import urllib.parse
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from vipjax.runtime.errors import UserError
from vipjax.videos import read_video, resize_frames, write_video

# A larger film would make the page slow to open, so the page links to it.
_LARGEST_VIDEO_BYTES = 16_000_000
# Players hold many films, so larger ones are shrunk.
_LARGEST_FILM_BYTES, _FILM_HEIGHT = 400_000, 256
_THUMBNAIL = 160  # pixels, height
_VOID = ("img", "input", "meta")


class Safe(str):
  """HTML that is already escaped; any other string is escaped on its way into an element."""


def element(tag: str, *children: str | None, **attributes: str | bool | None) -> Safe:
  """One element with its contents.

  Args:
    tag: its name.
    *children: `Safe` as it is, other strings escaped, None left out.
    **attributes: escaped; `class_` is "class", "_" in a name is "-", True stands without value,
      None and False are left out.
  """
  written = ""
  for name, value in attributes.items():
    name = name.rstrip("_").replace("_", "-")
    if value is True:
      written += f" {name}"
    elif value is not None and value is not False:
      written += f' {name}="{html.escape(value)}"'
  if tag in _VOID:
    return Safe(f"<{tag}{written}>")
  return Safe(f"<{tag}{written}>{join(children)}</{tag}>")


def join(children: Iterable[str | None]) -> Safe:
  """Children in a row; escaped as in `element`."""
  known = (child for child in children if child is not None)
  return Safe("".join(each if isinstance(each, Safe) else html.escape(each) for each in known))


def document(title: str, *children: str | None, script_policy: str = "'none'") -> str:
  """A whole page that is complete in itself and fetches nothing.

  Args:
    title: the title of the browser's tab.
    *children: the contents.
    script_policy: scripts that may run, as sources of a Content-Security-Policy.
  """
  # Nothing is ever fetched, whatever the contents were.
  policy = (
    "default-src 'none'; img-src data: blob:; media-src data:; style-src 'unsafe-inline'; "
    f"script-src {script_policy}"
  )
  head = element(
    "head",
    element("meta", charset="utf-8"),
    element("meta", name="viewport", content="width=device-width, initial-scale=1"),
    element("meta", http_equiv="Content-Security-Policy", content=policy),
    element("title", f"{title} · vipjax"),
    element("style", Safe(_style())),
  )
  body = element("body", element("main", *children))
  return join([Safe("<!doctype html>\n"), element("html", head, body, lang="en")]) + "\n"


@functools.cache
def _style() -> str:
  return importlib.resources.files("vipjax.report").joinpath("style.css").read_text("utf8")


def header(
  title: str, words: str, tiles: Iterable[Safe], notes: Iterable[str] = (), facts: str | None = None
) -> Safe:
  """The head of a page: what it is, in a sentence, its notes, and the numbers that matter most."""
  return element(
    "header", element("h1", title), element("p", words), small(facts) if facts else None,
    *map(note, notes), element("div", *tiles, class_="tiles"),
  )  # fmt: skip


def tile(name: str, number: str, explanation: str) -> Safe:
  """A headline number with its name and an explanation."""
  return element(
    "div",
    element("div", name, class_="name"),
    element("div", number, class_="number"),
    element("div", explanation, class_="sub"),
    class_="tile",
  )


def section(title: str, *children: str | None) -> Safe:
  """A part of the page under a heading that links can point to."""
  return element("section", element("h2", title), *children, id=title.lower().replace(" ", "-"))


def contents(sections: Iterable[Safe | None]) -> Safe:
  """Links to sections, in a row."""
  found = [re.match(r'<section id="(.*?)"><h2>(.*?)</h2>', part) for part in sections if part]
  links = [element("a", Safe(each[2]), href=f"#{html.unescape(each[1])}") for each in found if each]
  return element("nav", *links)


def small(text: str) -> Safe:
  """A remark in small print."""
  return element("p", text, class_="sub")


def details(summary: str, *children: str | None, opened: bool = False) -> Safe:
  """Contents that open with a click on their summary."""
  return element("details", element("summary", summary), *children, open=opened)


def note(text: str) -> Safe:
  """A warning in a coloured box."""
  return element("div", element("p", text), class_="note")


def not_run(what: str) -> Safe:
  """The placeholder for a stage that has not run."""
  return element("p", element("strong", "not run"), f": {what}", class_="missing")


def table(
  header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()
) -> Safe:
  """A table that scrolls sideways on small screens.

  Args:
    header: column titles; none makes the first column the header of its row.
    rows: the cells.
    numbers: positions of the columns to set flush right.
  """

  def cell(tag: str, index: int, content: str, scope: str | None = None) -> Safe:
    return element(tag, content, scope=scope, class_="number" if index in numbers else None)

  head = None
  if header:
    titles = [cell("th", *item, "col") for item in enumerate(header)]
    head = element("thead", element("tr", *titles))
  lines = []
  for row in rows:
    cells = [cell("td", *item) for item in enumerate(row)]
    if not header:
      cells[0] = cell("th", 0, row[0], "row")
    lines.append(element("tr", *cells))
  return element("div", element("table", head, element("tbody", *lines)), class_="scroll")


def picture(png: bytes, alternative: str, caption: str) -> Safe:
  """A PNG in the page itself."""
  image = element("img", src=_data("image/png", png), alt=alternative)
  return element("figure", image, element("figcaption", caption))


def gallery(images: Iterable[tuple[np.ndarray, str]], more: int = 0, where: str = "") -> Safe:
  """Small pictures, uint8 [H, W, 3], with captions; a remark says how many `more` lie `where`."""
  left_out = small(f"and {more} more{where}") if more > 0 else None
  return element("div", *(_thumbnail(*each) for each in images), left_out, class_="goals")


def _thumbnail(image: np.ndarray, caption: str) -> Safe:
  file = io.BytesIO()
  height, width = image.shape[:2]
  shown = resize_frames(image[None], (_THUMBNAIL, max(1, round(_THUMBNAIL * width / height))))[0]
  Image.fromarray(shown).save(file, "PNG")
  return picture(file.getvalue(), caption, caption)


def video(path: pathlib.Path, caption: str, relative_to: pathlib.Path) -> Safe:
  """An mp4 inside the page, or a link to the file if it is too large."""
  if path.stat().st_size > _LARGEST_VIDEO_BYTES:
    inside = path.is_relative_to(relative_to)
    within = path.relative_to(relative_to).as_posix() if inside else ""
    link = urllib.parse.quote(within) or path.absolute().as_uri()
    return element("p", f"{caption}: ", element("a", link, href=link), " (too large for the page)")
  player = element(
    "video", src=video_url(path), controls=True, loop=True, muted=True, playsinline=True,
    aria_label=caption,
  )  # fmt: skip
  return element("figure", player, element("figcaption", caption))


def video_url(path: pathlib.Path) -> str:
  """An mp4 as a data URL."""
  return _data("video/mp4", path.read_bytes())


def small_video_url(path: pathlib.Path, folder: pathlib.Path) -> str | None:
  """`video_url` of the film, or of a smaller copy in `folder`; None if it cannot be read."""
  if not path.is_file():
    return None
  if path.stat().st_size <= _LARGEST_FILM_BYTES:
    return video_url(path)
  small = folder / f"small_{path.parent.name}_{path.name}"
  try:
    video = read_video(path)
  except UserError:
    return None
  height, width = video.frames.shape[1:3]
  size = (_FILM_HEIGHT, max(2, round(_FILM_HEIGHT * width / height / 2) * 2))
  frames = resize_frames(video.frames, size) if height > _FILM_HEIGHT else video.frames
  write_video(small, frames, video.fps, times=video.times, crf=26, overwrite=True)
  return video_url(small)


def _data(kind: str, content: bytes) -> str:
  return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
