"""Seconds per sample of the 17 matrix products of a training step at batch 1024, one thread: oneDNN and OpenBLAS."""
import ctypes
import glob
import json
import sys
import time

import numpy as np

WIDTHS = [5, 128, 256, 512, 256, 128, 1]
BATCH = 1024
rng = np.random.default_rng(1)
x = [rng.standard_normal((BATCH, w), dtype=np.float32) for w in WIDTHS]
d = [rng.standard_normal((BATCH, w), dtype=np.float32) for w in WIDTHS]
w = [rng.standard_normal((o, i), dtype=np.float32) for i, o in zip(WIDTHS, WIDTHS[1:])]
g = [np.empty_like(a) for a in w]
pointer = lambda a: a.ctypes.data_as(ctypes.c_void_p)


def products(gemm):
    for l in range(6):  # forward: x W^T
        gemm(False, True, BATCH, WIDTHS[l + 1], WIDTHS[l], x[l], w[l], x[l + 1])
    for l in range(5, 0, -1):  # to the inputs: d W
        gemm(False, False, BATCH, WIDTHS[l], WIDTHS[l + 1], d[l + 1], w[l], d[l])
    for l in range(6):  # to the weights: d^T x
        gemm(True, False, WIDTHS[l + 1], WIDTHS[l], BATCH, d[l + 1], x[l], g[l])


def best(gemm):
    least = float("inf")
    for k in range(12):
        start = time.thread_time()
        products(gemm)
        if k:
            least = min(least, time.thread_time() - start)
    return least / BATCH


out = {}
libraries = sorted(glob.glob(sys.prefix + "/lib/libdnnl.so*"))
if libraries:
    dnnl = ctypes.CDLL(libraries[0])
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    size = ctypes.c_int64

    def gemm(ta, tb, m, n, k, a, b, c):
        dnnl.dnnl_sgemm(
            ctypes.c_char(b"T" if ta else b"N"), ctypes.c_char(b"T" if tb else b"N"), size(m), size(n), size(k), one,
            pointer(a), size(a.shape[1]), pointer(b), size(b.shape[1]), zero, pointer(c), size(c.shape[1]),
        )

    class Version(ctypes.Structure):
        _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]

    dnnl.dnnl_version.restype = ctypes.POINTER(Version)
    v = dnnl.dnnl_version().contents
    out["oneDNN"], out["oneDNN version"] = best(gemm), f"{v.major}.{v.minor}.{v.patch}"
try:
    import scipy_openblas32

    blas = ctypes.CDLL(glob.glob(scipy_openblas32.get_lib_dir() + "/*.so")[0])
except (ImportError, IndexError):
    blas = None
if blas:
    blas.scipy_openblas_set_num_threads(1)

    def gemm(ta, tb, m, n, k, a, b, c):
        blas.scipy_cblas_sgemm(
            101, 112 if ta else 111, 112 if tb else 111, m, n, k, ctypes.c_float(1), pointer(a), a.shape[1], pointer(b),
            b.shape[1], ctypes.c_float(0), pointer(c), c.shape[1],
        )

    blas.scipy_openblas_get_config.restype = ctypes.c_char_p
    blas.scipy_openblas_get_corename.restype = ctypes.c_char_p
    out["OpenBLAS"] = best(gemm)
    out["OpenBLAS version"] = (
        blas.scipy_openblas_get_config().split()[1].decode() + " (" + blas.scipy_openblas_get_corename().decode() + ")"
    )
print(json.dumps(out))
