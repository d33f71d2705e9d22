"""Writes eval.json: what trec_eval says of random rankings.

    pip install pytrec_eval-terrier==0.5.11
    python tests/goldens/eval.py

Each case is a ranking of up to 20 documents, the relevant ones, and hit@1 (trec_eval's success_1),
recall_10, recip_rank of the first ten documents (trec_eval looks at all) and ndcg_cut_10.
"""
import json
import random
from pathlib import Path

import pytrec_eval


def case(source):
    documents = [f"d{i}" for i in range(30)]
    source.shuffle(documents)
    ranking = documents[: source.randint(1, 20)]
    relevant = sorted(source.sample(documents, source.randint(1, 15)))
    score = lambda ranked, measures: pytrec_eval.RelevanceEvaluator(
        {"q": dict.fromkeys(relevant, 1)}, measures
    ).evaluate({"q": {document: float(-i) for i, document in enumerate(ranked)}})["q"]
    whole = score(ranking, {"success_1", "recall_10", "ndcg_cut_10"})
    return {
        "ranking": ranking,
        "relevant": relevant,
        "measures": {
            "hit_at_1": whole["success_1"],
            "recall_at_10": whole["recall_10"],
            "mrr_at_10": score(ranking[:10], {"recip_rank"})["recip_rank"],
            "ndcg_at_10": whole["ndcg_cut_10"],
        },
    }


source = random.Random(1)
lines = ",\n".join(json.dumps(case(source)) for _ in range(20))
Path(__file__).with_name("eval.json").write_text(f"[\n{lines}\n]\n")
