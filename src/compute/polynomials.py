"""Prints the polynomials of exp.rs and dense/rows.rs, each with its largest error.

usage: python src/compute/polynomials.py        (needs numpy and scipy)

Both have the least maximal error: least squares whose weights are moved towards the largest errors
(C. L. Lawson 1961).
"""

import numpy as np
from numpy.polynomial import chebyshev
from scipy.special import erf

GELU_END = 5.4


def lawson(basis, values, weights, rounds=400):
    """Coefficients of the smallest largest |basis · coefficients - values| · weights, and that."""
    least = (np.inf, None)
    moved = np.ones_like(values)
    for _ in range(rounds):
        w = np.sqrt(moved) * weights
        coefficients, *_ = np.linalg.lstsq(basis * w[:, None], values * w, rcond=None)
        errors = np.abs(basis @ coefficients - values) * weights
        least = min(least, (errors.max(), coefficients), key=lambda pair: pair[0])
        moved = np.maximum(moved * errors / errors.mean(), 1e-12)
        moved /= moved.mean()
    return least


def show(name, error, coefficients):
    print(f"{name}: error {error:.1e}")
    print("    " + ", ".join(str(np.float32(c)) for c in coefficients))


s = np.cos(np.linspace(0, np.pi, 4001))
square = (s + 1) / 2 * GELU_END**2
inner = np.maximum(square, 1e-12)
phi = 0.5 * erf(np.sqrt(inner / 2)) / np.sqrt(inner)  # (Φ(x) - 1/2) / x
error, coefficients = lawson(chebyshev.chebvander(s, 13), phi, square + 1e-3)
show("GELU, of 2 x² / 5.4² - 1", error, chebyshev.cheb2poly(coefficients))

x = np.linspace(-0.5, 0.5, 20001)
powers = np.vander(x, 6, increasing=True)[:, 1:]  # 2⁰ = 1 stays exact
error, coefficients = lawson(powers, 2**x - 1, 2**-x)
show("2^x for |x| <= 1/2", error, [1, *coefficients])
