"""Seconds for merging a million points of five dimensions within 0.01, by error: SciPy's k-d tree and NumPy."""
import json
import time

import numpy as np
import scipy
from scipy.spatial import cKDTree

rng = np.random.default_rng(1)
points, errors = rng.random((1_000_000, 5)), rng.random(1_000_000)
start = time.thread_time()
order = np.argsort(-errors)
points = points[order]
pairs = cKDTree(points).query_pairs(0.01, output_type="ndarray")
kept = np.ones(len(points), dtype=bool)
for first, second in pairs[np.argsort(pairs[:, 0], kind="stable")]:
    if kept[first]:
        kept[second] = False
print(json.dumps({"seconds": time.thread_time() - start, "version": scipy.__version__, "kept": int(kept.sum())}))
