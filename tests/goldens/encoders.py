"""Writes tiny encoders with random weights, and encoders.json with what they compute.

usage: python tests/goldens/encoders.py
       python tests/goldens/encoders.py --real-shape DIR

    tiny-xlm-roberta/             XLMRobertaModel, as bge-m3 is: [CLS] pooling, unit length
    tiny-xlm-roberta-classifier/  XLMRobertaForSequenceClassification with one label, as
                                  bge-reranker-v2-m3 and mmarco-mMiniLMv2-L12-H384-v1 are
    tiny-bert-classifier/         BertForSequenceClassification with one label, as the English
                                  MS MARCO cross-encoders are
    tiny-modernbert/              ModernBertModel with GELU and no biases, as bekko-embedding-v1 is;
                                  config.json as transformers 5 writes it
    tiny-modernbert-silu/         ModernBertModel with SiLU, as granite-embedding-97m-multilingual-r2,
                                  and with biases, which no known model has; config.json as
                                  transformers 4 wrote it

Each is a folder as on the hub: config.json, model.safetensors, tokenizer.json. encoders.json
has, from transformers in float32, the token ids of every input alone and its unit vector or raw
logit (before any sigmoid); of ModernBERTs, the unit vectors of the mean, the first and the last token.
The script checks that one padded batch of all inputs gives the same, and that a window that is
wider by one token to each side does not.

With --real-shape it writes into DIR instead: a classifier with the layers, widths and positions
of mmarco-mMiniLMv2-L12-H384-v1 and a small vocabulary (xlm-roberta-classifier/), a ModernBERT of the
shape of bekko-embedding-v1-a25m (modernbert/), which reads texts of 12 to 8,192 tokens, and golden.json
with what they compute. They are too large to commit (about 190 MB), and the same in every run.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

from common import HERE, deterministic, rounded, write_golden

VOCABULARY = 600
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
MINI_LM = {  # mmarco-mMiniLMv2-L12-H384-v1
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}

TINY_MODERN = {  # the layers' sights: all, near, near, all
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "local_attention": 16,
    "max_position_embeddings": 512,
}
TINY_MODERN_SILU = {
    **TINY_MODERN,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "hidden_activation": "silu",
    "norm_bias": True,
    "attention_bias": True,
    "mlp_bias": True,
}
BEKKO = {  # bekko-embedding-v1-a25m
    "hidden_size": 384,
    "num_hidden_layers": 13,
    "num_attention_heads": 6,
    "intermediate_size": 1152,
    "local_attention": 128,
    "max_position_embeddings": 8192,
}

TRAINING = [  # for the tokenizers' few pieces
    "Xử lý ngôn ngữ tự nhiên nghiên cứu cách máy tính đọc, hiểu và viết tiếng nói của con người.",
    "Tiếng Việt có sáu thanh điệu, và khoảng trắng ngăn cách các âm tiết chứ không phải các từ.",
    "Mô hình ngôn ngữ dự đoán từ tiếp theo; dịch máy chuyển câu từ ngôn ngữ này sang ngôn ngữ khác.",
    "Hà Nội là thủ đô của Việt Nam, Huế là kinh đô cũ.",
    "Natural language processing studies how computers read, understand and write language.",
    "The system finds the passages that answer the question, and the answer cites the passages.",
    "A language model predicts the next word; translation turns one language into another.",
    "Embeddings place texts with similar meanings near each other.",
]
TEXTS = [
    "NLP là gì?",
    "Tiếng Việt có mấy thanh điệu?",
    "Hà Nội",
    "a",
    "Natural language processing studies language.",
    "Mô hình ngôn ngữ dự đoán từ tiếp theo, và dịch máy chuyển câu sang ngôn ngữ khác.",
    "The system finds passages near the question. The answer cites the passages it was given, "
    "and when no passage answers the question, the system says that it does not know.",
    "Chữ 漢字 không có trong từ vựng 🙂.",
]
PAIRS = [
    ("NLP là gì?", "Xử lý ngôn ngữ tự nhiên nghiên cứu cách máy tính hiểu tiếng người."),
    ("NLP là gì?", "Hà Nội là thủ đô của Việt Nam."),
    ("Thủ đô của Việt Nam?", "Hà Nội là thủ đô của Việt Nam, Huế là kinh đô cũ."),
    ("Tiếng Việt có mấy thanh điệu?", "Tiếng Việt có sáu thanh điệu."),
    ("a", "b"),
    ("What is a language model?", "A language model predicts the next word."),
    ("What is a language model?", "Mô hình ngôn ngữ dự đoán từ tiếp theo."),
    ("How does the system answer?", TEXTS[6] + " " + TRAINING[4] + " " + TRAINING[7]),
]


def pieces(words: list[str], inside: str = "") -> list[tuple[str, float]]:
    """Characters and frequent parts of words, with the logarithm of their share.

    `inside` marks the parts that do not start a word. The trainers of `tokenizers` for Unigram
    and WordPiece are not deterministic, and this is as good here.
    """
    found = Counter()
    for word in words:
        for start in range(len(word)):
            mark = inside if start else ""
            found.update(mark + word[start:end] for end in range(start + 1, len(word) + 1))
    total = sum(found.values())

    def rank(piece: str) -> tuple:
        length = len(piece.removeprefix(inside))
        return (length > 1, -length * found[piece], piece)

    chosen = sorted(found, key=rank)[: VOCABULARY - 5]  # room for the special tokens
    return [(piece, round(math.log(found[piece] / total), 4)) for piece in chosen]


def unigram_tokenizer() -> Tokenizer:
    """XLM-R's kind: a Unigram model, `<s> A </s>` and `<s> A </s></s> B </s>`."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = ["▁" + word for text in TRAINING for word in text.split()]
    vocabulary = [(token, 0.0) for token in special] + pieces(words)
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.NFKC()])
    metaspace = {"replacement": "▁", "prepend_scheme": "always"}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**metaspace)]
    )
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


def word_piece_tokenizer() -> Tokenizer:
    """BERT's kind: lower case, WordPiece, `[CLS] A [SEP] B [SEP]` with segments 0 and 1."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [word for text in TRAINING for word in re.findall(r"\w+|[^\w\s]", text.lower())]
    vocabulary = special + [piece for piece, _ in pieces(words, inside="##")]
    ids = {piece: id for id, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


def gemma_tokenizer() -> Tokenizer:
    """Gemma's kind: byte pairs over whole texts with bytes to fall back to, `<bos> A <eos>`."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocabulary = special + [f"<0x{byte:02X}>" for byte in range(256)]
    words = Counter(word for text in TRAINING for word in text.replace(" ", " ▁").split())
    parts = {word: list(word) for word in words}
    vocabulary += sorted({letter for word in words for letter in word})
    merges = []
    while len(vocabulary) < VOCABULARY:
        pairs = Counter()
        for word, count in words.items():
            for pair in zip(parts[word], parts[word][1:]):
                pairs[pair] += count
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        if "".join(best) not in vocabulary:
            vocabulary.append("".join(best))
        for word, old in parts.items():
            new = []
            for part in old:
                if new and (new[-1], part) == best:
                    new[-1] += part
                else:
                    new.append(part)
            parts[word] = new
    ids = {piece: id for id, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(
        models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>",
        pair="<bos> $A <eos> $B <eos>",
        special_tokens=[("<bos>", 2), ("<eos>", 1)],
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


def randomize(model: PreTrainedModel) -> None:
    """Weights large enough that inputs are told apart; biases and norms that are not neutral.

    Sharp attention (large queries and keys) makes the first token's state depend on the rest.
    """
    torch.manual_seed(1)
    gains = {"query": 2.5, "key": 2.5, "classifier": 3.0, "Wqkv": 2.5}
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape)
        if name.endswith("orm.weight"):
            tensor.copy_(1 + 0.2 * noise)
        elif name.endswith("bias"):
            tensor.copy_(0.1 * noise)
        elif "embeddings" in name:
            tensor.copy_(0.5 * noise)
        else:
            gain = next((gain for part, gain in gains.items() if part in name), 1.2)
            tensor.copy_(gain * noise / math.sqrt(tensor.shape[1]))


def save(model: PreTrainedModel, tokenizer: Tokenizer, folder: Path) -> PreTrainedTokenizerFast:
    folder.mkdir(parents=True, exist_ok=True)
    randomize(model)
    model.eval().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    config = folder / "config.json"
    fields = json.loads(config.read_text("utf-8"))
    # As the published models have them; newer versions of transformers write fewer fields.
    del fields["transformers_version"]
    fields["torch_dtype"] = fields.pop("dtype")
    if model.config.model_type != "modernbert":
        fields["position_embedding_type"] = "absolute"
    config.write_text(json.dumps(fields, indent=2) + "\n", "utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    pad = "<pad>" if tokenizer.token_to_id("<pad>") is not None else "[PAD]"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad)


def xlm_roberta_config(tokenizer: Tokenizer, shape: dict, positions: int) -> XLMRobertaConfig:
    return XLMRobertaConfig(
        **shape,
        vocab_size=tokenizer.get_vocab_size(),
        # Position ids of RoBERTa start behind the padding id: two more than the tokens.
        max_position_embeddings=positions + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        num_labels=1,
    )


def encode(tokenizer: PreTrainedTokenizerFast, inputs: list, **options) -> dict:
    segments = tokenizer.backend_tokenizer.token_to_id("[CLS]") is not None
    if isinstance(inputs[0], tuple):
        questions, passages = zip(*inputs)
        return tokenizer(
            list(questions),
            list(passages),
            return_tensors="pt",
            return_token_type_ids=segments,
            **options,
        )
    return tokenizer(inputs, return_tensors="pt", return_token_type_ids=segments, **options)


def outputs(model: PreTrainedModel, batch: dict) -> torch.Tensor:
    """Unit rows of the first token's state, or the raw logits."""
    result = model(**batch)
    if "logits" in result:
        return result.logits
    return F.normalize(result.last_hidden_state[:, 0], dim=1)


def cases(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, inputs: list) -> list[dict]:
    """Every input computed alone, checked against all of them in one padded batch."""
    together = outputs(model, encode(tokenizer, inputs, padding=True))
    found = []
    for given, row in zip(inputs, together):
        batch = encode(tokenizer, [given])
        alone = outputs(model, batch)[0]
        assert torch.allclose(alone, row, atol=2e-5), "the batch differs from single inputs"
        ids = {"ids": batch["input_ids"][0].tolist()}
        if isinstance(given, tuple):
            question, passage = given
            found.append(
                {"question": question, "passage": passage, **ids, "logit": rounded(alone.item())}
            )
        else:
            found.append({"text": given, **ids, "vector": rounded(alone)})
    if "logit" in found[0]:
        logits = [case["logit"] for case in found]
        assert max(logits) - min(logits) > 0.2, f"the logits are too alike: {logits}"
    return found


def modern_config(tokenizer: Tokenizer, shape: dict) -> ModernBertConfig:
    return ModernBertConfig(
        **shape,
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        cls_token_id=2,
        sep_token_id=1,
    )


def in_old_words(folder: Path, config: ModernBertConfig) -> None:
    """Writes config.json as transformers 4 did, and checks that it still says the same."""
    path = folder / "config.json"
    fields = json.loads(path.read_text("utf-8"))
    rotations = fields.pop("rope_parameters")
    del fields["layer_types"]
    fields["global_attn_every_n_layers"] = 3
    fields["global_rope_theta"] = rotations["full_attention"]["rope_theta"]
    fields["local_rope_theta"] = rotations["sliding_attention"]["rope_theta"]
    fields["layer_norm_eps"] = fields["norm_eps"]
    path.write_text(json.dumps(fields, indent=2) + "\n", "utf-8")
    read = ModernBertConfig.from_pretrained(folder)
    assert read.layer_types == config.layer_types
    assert read.rope_parameters == config.rope_parameters


def modern_outputs(model: ModernBertModel, batch: dict) -> list[torch.Tensor]:
    """Unit rows of the mean of a text's tokens, of its first and of its last."""
    states = model(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None].to(states.dtype)
    last = batch["attention_mask"].sum(1) - 1
    found = [(states * mask).sum(1), states[:, 0], states[range(len(states)), last]]
    return [F.normalize(rows, dim=1) for rows in found]


def modern_cases(model: ModernBertModel, batches: list[dict]) -> list[dict]:
    """Every text alone, checked against a model whose tokens see one further to each side."""
    widened = ModernBertConfig(**model.config.to_dict())
    widened.local_attention += 2
    wider = ModernBertModel(widened).eval()
    wider.load_state_dict(model.state_dict())
    found = []
    for batch in batches:
        vectors = modern_outputs(model, batch)
        ids = batch["input_ids"][0].tolist()
        others = modern_outputs(wider, batch)
        error = max((a - b).abs().max().item() for a, b in zip(vectors, others))
        windowed = len(ids) > model.config.local_attention // 2 + 1
        assert (error > 1e-3) == windowed, f"a wider window changes {error} at {len(ids)} tokens"
        names = ("mean", "first", "last")
        vectors = {name: rounded(rows[0]) for name, rows in zip(names, vectors)}
        found.append({"ids": ids, **vectors})
    return found


def write_tiny_modern(golden: dict) -> None:
    tokenizer = gemma_tokenizer()
    long = " ".join(TRAINING)
    texts = [*TEXTS, TRAINING[4], long, f"{long}\n{long[:300]}"]
    for name, shape in [
        ("tiny-modernbert", TINY_MODERN),
        ("tiny-modernbert-silu", TINY_MODERN_SILU),
    ]:
        model = ModernBertModel(modern_config(tokenizer, shape))
        reader = save(model, tokenizer, HERE / name)
        if name.endswith("silu"):
            in_old_words(HERE / name, model.config)
        batches = [encode(reader, [text]) for text in texts]
        found = modern_cases(model, batches)
        golden[name] = [{"text": text, **case} for text, case in zip(texts, found)]
        together = modern_outputs(model, encode(reader, texts, padding=True))
        for kind, rows in zip(("mean", "first", "last"), together):
            alone = torch.tensor([case[kind] for case in golden[name]])
            assert torch.allclose(rows, alone, atol=2e-5), "the batch differs from single inputs"


def write_tiny() -> None:
    unigram, word_piece = unigram_tokenizer(), word_piece_tokenizer()
    xlm_roberta = xlm_roberta_config(unigram, TINY, positions=256)
    bert = BertConfig(
        **TINY,
        vocab_size=word_piece.get_vocab_size(),
        max_position_embeddings=256,
        type_vocab_size=2,
        pad_token_id=0,
        num_labels=1,
    )
    built = {
        "tiny-xlm-roberta": (
            XLMRobertaModel(xlm_roberta, add_pooling_layer=False),
            unigram,
            TEXTS,
        ),
        "tiny-xlm-roberta-classifier": (
            XLMRobertaForSequenceClassification(xlm_roberta),
            unigram,
            PAIRS,
        ),
        "tiny-bert-classifier": (BertForSequenceClassification(bert), word_piece, PAIRS),
    }
    golden = {"made_by": "tests/goldens/encoders.py"}
    for name, (model, tokenizer, inputs) in built.items():
        reader = save(model, tokenizer, HERE / name)
        golden[name] = cases(model, reader, inputs)
    write_tiny_modern(golden)
    write_golden(HERE / "encoders.json", golden)


def write_real_shape(folder: Path) -> None:
    tokenizer = unigram_tokenizer()
    config = xlm_roberta_config(tokenizer, MINI_LM, positions=512)
    model = XLMRobertaForSequenceClassification(config)
    name = "xlm-roberta-classifier"
    reader = save(model, tokenizer, folder / name)
    golden = {"made_by": "tests/goldens/encoders.py --real-shape", name: cases(model, reader, PAIRS)}
    tokenizer = gemma_tokenizer()
    model = ModernBertModel(modern_config(tokenizer, BEKKO))
    reader = save(model, tokenizer, folder / "modernbert")
    batches = []
    for tokens in (12, 64, 66, 140, 512, 2000, 8192):
        ids = torch.randint(5, tokenizer.get_vocab_size(), (1, tokens))
        batches.append({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    golden["modernbert"] = modern_cases(model, batches)
    write_golden(folder / "golden.json", golden)


if __name__ == "__main__":
    deterministic()
    if len(sys.argv) == 1:
        write_tiny()
    elif len(sys.argv) == 3 and sys.argv[1] == "--real-shape":
        write_real_shape(Path(sys.argv[2]))
    else:
        sys.exit(f"usage: python {sys.argv[0]} [--real-shape DIR]")
