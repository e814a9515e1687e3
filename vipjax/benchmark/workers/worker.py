"""A peer's process: reads requests from its input and writes answers, one JSON value a line.

    {"make": "module.function", "settings": {...}}   prepares the work; answers its facts
    "run"                                            does it once; answers the seconds
    {"call": "method", "keywords": {...}}            calls a method of the work; answers its result
    "memory"                                         answers the peak memory so far in MiB

The function returns (work, facts): the timed function, or an object with methods, and a dict that
is the answer. With "asks": true beside "make" it takes a function as its first argument: work that
needs something from the other side, such as a step of an environment, calls it with a JSON value,
and gets the other side's answer to {"question": value}. A Python that may lack vipjax runs this
file as a script.
"""

import importlib
import json
import os
import pathlib
import re
import sys
import time


def main() -> None:
  # Peers may print anything, so their output goes to standard error and only answers to the pipe.
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)

  def send(value):
    answers.write(json.dumps(value) + "\n")
    answers.flush()

  def ask(question):
    send({"question": question})
    return json.loads(sys.stdin.readline())

  work = None
  for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    try:
      if request == "run":
        start = time.perf_counter()
        work()
        value = time.perf_counter() - start
      elif request == "memory":
        value = memory_mb(os.getpid())
      elif "call" in request:
        value = getattr(work, request["call"])(**request["keywords"])
      else:
        module, function = request["make"].split(".")
        make = getattr(importlib.import_module(module), function)
        work, value = make(*[ask] * request["asks"], **request["settings"])
      answer = {"value": value}
    except Exception as error:
      answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    send(answer)


def memory_mb(process: int) -> float:
  """Returns the peak memory in MiB of a process and its living descendants; 0 without /proc."""
  folder = pathlib.Path(f"/proc/{process}")
  try:
    peak = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
    children = [c for f in folder.glob("task/*/children") for c in f.read_text().split()]
  except OSError:
    return 0.0
  own = int(peak.group(1)) / 1024 if peak else 0.0
  return own + sum(memory_mb(int(child)) for child in children)


if __name__ == "__main__":
  main()
