"""Resumable download of one file, with progress."""

from __future__ import annotations

import http.client
import pathlib
import time
import urllib.error
import urllib.parse
import urllib.request

from vipjax.runtime.cache import file_sha256
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress

BLOCK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte


class _BrokenOff(Exception):
  """The connection ended before the file did."""


def fetch(
  address: str,
  target: pathlib.Path,
  sha256: str | None = None,
  advice: str = "try again",
  attempts: int = 4,
  pause: float = 1.0,
) -> dict[str, int | str]:
  """Downloads `address` to `target`, going on where an earlier call broke off.

  Until then the bytes are in `<target>.partial`, and the server's ETag in `<target>.partial.etag`;
  the download goes on only if the server still has the same file.

  Args:
    address: HTTPS, or HTTP on this very machine.
    target: path of the file; it appears only when complete.
    sha256: hexadecimal checksum to insist on; None when none is known.
    advice: what the user can do; ends the error messages.
    attempts: connections before giving up.
    pause: seconds before connecting again.

  Returns:
    {"size": bytes, "sha256": hexadecimal} of the file.

  Raises:
    UserError: an address that is not HTTPS, no network, an HTTP error, a download that keeps
      breaking off, or a wrong checksum (the download is then deleted).
  """
  _check_secure(address, advice)
  partial = target.with_name(target.name + ".partial")
  reason = ""
  for attempt in range(attempts):
    if attempt:
      time.sleep(pause)
    try:
      _continue(address, partial, target.name, advice)
      break
    except urllib.error.HTTPError as error:
      error.close()  # it holds the connection
      reason = f"the server answered {error.code} {error.reason}"
      if error.code == 416:  # more than the file has: what lies here is not part of it
        partial.unlink(missing_ok=True)
      elif error.code < 500:
        raise UserError(f"expected to download {address}, got '{reason}'; {advice}.") from None
    except (_BrokenOff, urllib.error.URLError, OSError, http.client.HTTPException) as error:
      reason = str(getattr(error, "reason", error)) or type(error).__name__
  else:
    raise UserError(
      f"expected to download {address}, got '{reason}' (what is here so far is kept and continued)"
      f"; {advice}."
    )
  seen = {"size": partial.stat().st_size, "sha256": file_sha256(partial)}
  _etag_file(partial).unlink(missing_ok=True)
  if sha256 is not None and seen["sha256"] != sha256.lower():
    partial.unlink()
    raise UserError(
      f"expected sha256 {sha256} from {address}, got {seen['sha256']} and deleted it; {advice}."
    )
  partial.replace(target)
  return seen


def _continue(address: str, partial: pathlib.Path, label: str, advice: str) -> None:
  """One connection: appends to `partial` what is missing, or starts over."""
  etag_file = _etag_file(partial)
  request = urllib.request.Request(address, headers={"User-Agent": "vipjax"})
  have = partial.stat().st_size if partial.is_file() and etag_file.is_file() else 0
  if have:
    request.add_header("Range", f"bytes={have}-")
    request.add_header("If-Range", etag_file.read_text(encoding="utf-8"))
  with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
    _check_secure(response.geturl(), advice)
    start = f"bytes {have}-"
    if response.status != 206 or not response.headers.get("Content-Range", "").startswith(start):
      have = 0
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
      etag_file.write_text(etag, encoding="utf-8")
    else:  # without a strong ETag nobody can tell whether the rest belongs to the start
      etag_file.unlink(missing_ok=True)
    length = response.headers.get("Content-Length")
    total = None if length is None else have + int(length)
    progress = Progress(total, f"downloading {label}", initial=have, unit="B")
    with open(partial, "ab" if have else "wb") as file, progress as bar:
      while block := response.read(BLOCK):
        file.write(block)
        bar.update(len(block))
      came = file.tell()
  if total is not None and came != total:
    raise _BrokenOff(f"the connection ended after {came} of {total} bytes")


def _etag_file(partial: pathlib.Path) -> pathlib.Path:
  return partial.with_name(partial.name + ".etag")


def _check_secure(address: str, advice: str) -> None:
  parts = urllib.parse.urlsplit(address)
  if parts.scheme != "https" and (parts.scheme, parts.hostname) != ("http", "127.0.0.1"):
    raise UserError(f"expected an HTTPS address, got {address}; {advice}.")
