"""Reference prices of the oracles that solve differential equations: Tests/PricingTests/Resources/<oracle>.csv.

A method of another kind: Galerkin's with polynomials of high degree on a few elements of ln S (and of v), the strike and the
barrier at ends of elements, and the exponential of the matrix in time. Each price is computed on two meshes and the finer one
taken; `referenceError` is their difference.

- localVolatilityBarrier: the same equation, elements of degree 24.
- hestonBarrier: elements in both directions; the exponential times a vector by Krylov's method.

    pip install numpy scipy && python3 finite_differences.py ../PricingTests/Resources
"""
import random
import sys

import numpy as np
from numpy.polynomial import legendre
from scipy.linalg import expm
from scipy.sparse import csr_matrix, csc_matrix, identity, kron
from scipy.sparse.linalg import splu

folder = sys.argv[1]
only = sys.argv[2:]


def lobatto(p):
    c = np.zeros(p + 1)
    c[p] = 1
    inner = np.sort(legendre.legroots(legendre.legder(c)).real)
    x = np.concatenate([[-1], inner, [1]])
    w = 2 / (p * (p + 1) * legendre.legval(x, c) ** 2)
    D = np.zeros((p + 1, p + 1))
    L = legendre.legval(x, c)
    for i in range(p + 1):
        for j in range(p + 1):
            if i != j:
                D[i, j] = L[i] / L[j] / (x[i] - x[j])
    D -= np.diag(D.sum(1))
    return x, w, D


def mesh(ends, p):
    """Nodes, masses, and a function that assembles sum over elements of f(x) g' h' (or g' h, or g h)."""
    x, w, D = lobatto(p)
    n = p * (len(ends) - 1) + 1
    nodes, mass = np.zeros(n), np.zeros(n)
    parts = []
    for e in range(len(ends) - 1):
        a, h = ends[e], (ends[e + 1] - ends[e]) / 2
        place = slice(e * p, e * p + p + 1)
        nodes[place] = a + h * (x + 1)
        mass[place] += h * w
        parts.append((place, h))

    def stiffness(a):
        A = np.zeros((n, n))
        for place, h in parts:
            A[place, place] += D.T @ np.diag(w * a[place]) @ D / h
        return A

    def transport(b):
        A = np.zeros((n, n))
        for place, h in parts:
            A[place, place] += np.diag(w * b[place]) @ D
        return A

    return nodes, mass, stiffness, transport


def at(nodes, ends, p, y):
    """Weights of the nodes for the value at y."""
    e = min(max(int(np.searchsorted(ends, y)) - 1, 0), len(ends) - 2)
    place = np.arange(e * p, e * p + p + 1)
    x = nodes[place]
    weights = np.zeros(len(nodes))
    for i, k in enumerate(place):
        others = np.delete(x, i)
        weights[k] = np.prod((y - others) / (x[i] - others))
    return weights


def elements(barrier, strike, end, width):
    """Ends of elements from ln barrier to `end`, the strike among them; narrow near barrier and strike."""
    marks = [np.log(barrier)]
    k = np.log(strike)
    if min(marks[0], end) + 1e-9 < k < max(marks[0], end) - 1e-9:
        marks.append(k)
    marks.append(end)
    ends = [marks[0]]
    for a, b in zip(marks, marks[1:]):
        count = max(1, int(np.ceil(abs(b - a) / width)))
        ends += list(a + (b - a) * np.arange(1, count + 1) / count)
    ends = np.array(sorted(ends))
    return ends


def local_volatility(c, p, width):
    is_up = c["barrierType"] == "upAndOut"
    T, r, q = c["maturityYears"], c["rate"], c["dividendYield"]
    sigma = lambda S: c["volatility"] * np.clip((S / c["reference"]) ** c["elasticity"], 0.25, 4)
    s = sigma(c["spot"] * np.exp(-1.0 if is_up else 0.0)) * np.sqrt(T)
    end = np.log(c["spot"]) + (-1 if is_up else 1) * (9 * s + abs(r - q) * T)
    ends = elements(c["barrier"], c["strike"], end, width)
    y, mass, stiffness, transport = mesh(ends, p)
    S = np.exp(y)
    v = sigma(S)
    a = 0.5 * v * v
    slope = np.where((v > 0.25 * c["volatility"]) & (v < 4 * c["volatility"]), 2 * a * c["elasticity"], 0)
    # u_t = a u'' + (r − q − a) u' − r u = (a u')' + (r − q − a − a') u' − r u.
    A = -stiffness(a) + transport(r - q - a - slope)
    far = 0 if is_up else len(y) - 1
    near = len(y) - 1 if is_up else 0
    # The boundary term a u' at the far end: there u is linear in S; it is far enough to take the asymptote's derivative of now.
    phi = 1 if c["optionType"] == "call" else -1
    u = np.maximum(phi * (S - c["strike"]), 0)
    A = A / mass[:, None] - r * np.eye(len(y))
    keep = [i for i in range(len(y)) if i not in (near, far)]
    # Far end: u = phi (S e^{−qt} − K e^{−rt}) or 0; made homogeneous by subtracting the smooth exact asymptote.
    live = (phi == 1) != is_up
    B = A[np.ix_(keep, keep)]
    if live:
        # Known solutions e^{−qt} S and e^{−rt} K drive the far node: extend the system by these two modes.
        m = len(keep)
        big = np.zeros((m + 2, m + 2))
        big[:m, :m] = B
        big[:m, m] = A[keep, far] * phi * S[far]
        big[:m, m + 1] = -A[keep, far] * phi * c["strike"]
        big[m, m], big[m + 1, m + 1] = -q, -r
        start = np.concatenate([u[keep], [1, 1]])
        result = (expm(big * T) @ start)[:m]
    else:
        result = expm(B * T) @ u[keep]
    full = np.zeros(len(y))
    full[keep] = result
    return float(at(y, ends, p, np.log(c["spot"])) @ full)


def heston(c, p, width, pv, v_elements, steps):
    is_up = c["barrierType"] == "upAndOut"
    T, r, q = c["maturityYears"], c["rate"], c["dividendYield"]
    v0, kappa, theta, sigma, rho = (
        c["variance"], c["reversion"], c["meanVariance"], c["varianceVolatility"], c["correlation"])
    typical = max(v0, theta)
    end = np.log(c["spot"]) + (-1 if is_up else 1) * (9 * np.sqrt(typical * T) + abs(r - q) * T)
    ends = elements(c["barrier"], c["strike"], end, width)
    y, mass, stiffness, transport = mesh(ends, p)
    S = np.exp(y)
    scale = sigma * sigma * (1 - np.exp(-kappa * T)) / (4 * kappa)
    top = (np.sqrt(typical) + 7 * np.sqrt(scale)) ** 2
    vends = top * (np.arange(v_elements + 1) / v_elements) ** 2
    v, vmass, vstiff, vtrans = mesh(vends, pv)
    one, vone = np.ones(len(y)), np.ones(len(v))
    inv, vinv = np.diag(1 / mass), np.diag(1 / vmass)
    Dy = inv @ transport(one)
    Dyy = -inv @ stiffness(one)
    # The far end: drop the weak form's boundary term by its true value, from u'' = u' in ln S.
    phi = 1 if c["optionType"] == "call" else -1
    live = (phi == 1) != is_up
    far, near = (0, len(y) - 1) if is_up else (len(y) - 1, 0)
    Dv = vinv @ vtrans(vone)
    # ½σ² v u_vv = ½σ² ((v u_v)' − u_v); nothing flows over the top.
    V = vinv @ (-0.5 * sigma**2 * vstiff(v) + vtrans(kappa * (theta - v) - 0.5 * sigma**2))
    diag = lambda x: csr_matrix(np.diag(x))
    A = (kron(diag(v / 2), csr_matrix(Dyy - Dy)) + kron(identity(len(v)), csr_matrix((r - q) * Dy - r * np.eye(len(y))))
         + kron(csr_matrix(V), identity(len(y))) + kron(csr_matrix(rho * sigma * np.diag(v) @ Dv), csr_matrix(Dy)))
    A = csr_matrix(A)
    n = len(y)
    u = np.tile(np.maximum(phi * (S - c["strike"]), 0), len(v))
    place = np.arange(n * len(v)) % n
    keep = np.where((place != near) & (place != far))[0]
    fars = np.where(place == far)[0]
    B = csc_matrix(A[keep][:, keep])
    m = len(keep)
    if live:
        from scipy.sparse import bmat
        column = np.asarray(A[keep][:, fars].sum(1))
        B = csc_matrix(bmat([[B, csr_matrix(column * phi * S[far]), csr_matrix(-column * phi * c["strike"])],
                             [None, csr_matrix([[-q]]), None], [None, None, csr_matrix([[-r]])]]))
        start = np.concatenate([u[keep], [1, 1]])
    else:
        start = u[keep]
    # Radau IIA of order 5 by its complex linear systems: stiff decay, error dt^5; steps graded towards the payoff.
    x = start.astype(float)
    grid = T * (np.arange(steps + 1) / steps) ** 2
    # Padé (2, 3) approximation of e^z by partial fractions.
    poles = np.roots([-1 / 60, 3 / 20, -3 / 5, 1])
    num = lambda z: 1 + 2 * z / 5 + z * z / 20
    den_slope = lambda z: -3 / 5 + 3 * z / 10 - z * z / 20
    residues = [num(z) / den_slope(z) for z in poles]
    for a, b in zip(grid, grid[1:]):
        dt = b - a
        total = 0
        done = set()
        for pole, residue in zip(poles, residues):
            if pole.imag < -1e-12:
                continue
            matrix = (dt * B - pole * identity(B.shape[0])).tocsc()
            if abs(pole.imag) < 1e-12:
                total = total + residue.real * splu((dt * B - pole.real * identity(B.shape[0])).tocsc()).solve(x)
            else:
                total = total + 2 * (residue * splu(matrix.astype(complex)).solve(x.astype(complex))).real
        x = total
    full = np.zeros(n * len(v))
    full[keep] = x[:m]
    return float(at(v, vends, pv, v0) @ full.reshape(len(v), n) @ at(y, ends, p, np.log(c["spot"])))


def write(name, rows):
    with open(f"{folder}/{name}.csv", "w") as file:
        file.write(",".join(rows[0]) + "\n")
        for row in rows:
            file.write(",".join(x if isinstance(x, str) else repr(float(x)) for x in row.values()) + "\n")
    print(name, max(row["referenceError"] for row in rows), flush=True)


def contract(uniform, k):
    is_up = k % 4 >= 2
    return {
        "optionType": ["call", "put"][k % 2], "barrierType": "upAndOut" if is_up else "downAndOut", "spot": 100.0,
        "strike": round(uniform(85, 115), 2), "barrier": round(uniform(115, 150) if is_up else uniform(60, 92), 2),
        "maturityYears": round(uniform(0.25, 2), 3), "rate": round(uniform(0, 0.08), 4),
        "dividendYield": round(uniform(0, 0.05), 4)}


def local_volatilities():
    uniform = random.Random(20261126).uniform
    rows = []
    for k in range(24):
        c = contract(uniform, k) | {
            "volatility": round(uniform(0.12, 0.45), 3), "elasticity": [0.0, round(uniform(-1, 0), 2)][k % 3 > 0],
            "reference": round(uniform(90, 110), 1)}
        fine, coarse = local_volatility(c, 24, 0.15), local_volatility(c, 20, 0.15)
        rows.append(c | {"price": fine, "referenceError": abs(fine - coarse)})
    write("localVolatilityBarrier", rows)


def hestons():
    uniform = random.Random(20261127).uniform
    rows = []
    for k in range(12):
        c = contract(uniform, k) | {
            "variance": round(uniform(0.02, 0.12), 4), "reversion": round(uniform(0.8, 3), 3),
            "meanVariance": round(uniform(0.02, 0.12), 4), "varianceVolatility": round(uniform(0.15, 0.5), 3),
            "correlation": round(uniform(-0.8, 0.2), 3)}
        fine, coarse = heston(c, 9, 0.2, 9, 4, 24), heston(c, 8, 0.2, 8, 4, 20)
        rows.append(c | {"price": fine, "referenceError": abs(fine - coarse)})
        print(rows[-1], flush=True)
    # Corners of the domain: both ends of everything, a barrier close by.
    draw = random.Random(20261128)
    def end(low, high):
        return draw.choice([low, high, round(draw.uniform(low, high), 4)])
    for k in range(4):
        c = contract(draw.uniform, k)
        if k % 3 == 0:
            c["barrier"] = 98.0 if c["barrierType"] == "downAndOut" else 102.0
        c |= {"maturityYears": end(0.1, 2), "rate": end(0, 0.1), "dividendYield": end(0, 0.1),
              "variance": end(0.01, 0.16), "reversion": end(0.5, 4), "meanVariance": end(0.01, 0.16),
              "varianceVolatility": draw.choice([0.1, 0.3, 0.6]),
              "correlation": draw.choice([-0.9, 0.3, round(draw.uniform(-0.9, 0.3), 3)])}
        fine, coarse = heston(c, 9, 0.2, 9, 4, 24), heston(c, 8, 0.2, 8, 4, 20)
        rows.append(c | {"price": fine, "referenceError": abs(fine - coarse)})
        print(rows[-1], flush=True)
    # A call below a barrier that it nearly reaches, with a variance that touches 0: not known well enough to be a reference.
    write("hestonBarrier", [row for row in rows if row["referenceError"] < 5e-5])


for task in [local_volatilities, hestons]:
    if not only or task.__name__ in only:
        task()
