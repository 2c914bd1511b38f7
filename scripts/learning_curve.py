"""Write a run's held-out metrics as a file of measurements: python scripts/learning_curve.py runs/small OUT.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from anymark.evaluate.bench import host
from anymark.files import write_json
from anymark.learn.train.log import LOG
from anymark.learn.train.loop import RECIPE

if __name__ == "__main__":
    run, out = map(Path, sys.argv[1:])
    rows = [json.loads(line) for line in (run / LOG).read_text("utf-8").splitlines()]
    metrics = [row for row in rows if "loss" not in row]
    write_json(out, {"host": host(), "recipe": (run / RECIPE).read_text("utf-8"), "metrics": metrics}, indent=2)
