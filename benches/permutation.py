"""Fisher's randomization test, for benches that compare two rankings question by question."""
import random

PERMUTATIONS = 2000


def p_value(differences):
    """How often a difference as large comes about by exchanging the two at random."""
    coin = random.Random(0)
    seen = abs(sum(differences))
    larger = sum(abs(sum(d if coin.random() < 0.5 else -d for d in differences)) >= seen - 1e-9
                 for _ in range(PERMUTATIONS))
    return (larger + 1) / (PERMUTATIONS + 1)
