"""Writes embedder.json: multilingual-e5-small as transformers computes it.

usage: python tests/goldens/embedder.py MODELS_DIR

For 20 texts in six languages: the token ids (of the prepared tokenizer.json) and the embedding
(float32, mean over all tokens, unit length), each text computed alone, without padding.
"""

import unicodedata

import torch
import torch.nn.functional as F
from transformers import BertModel, PreTrainedTokenizerFast

from common import HERE, deterministic, models_folder, rounded, write_golden

MODEL = "multilingual-e5-small-q4_0"

LONG_VIETNAMESE = (
    "Xử lý ngôn ngữ tự nhiên là một nhánh của trí tuệ nhân tạo, nghiên cứu cách máy tính đọc, "
    "hiểu và viết ngôn ngữ của con người. Với tiếng Việt, bước đầu tiên thường là tách từ: khoảng "
    "trắng ngăn cách các âm tiết chứ không ngăn cách các từ, nên “học sinh học sinh học” có thể "
    "hiểu theo nhiều cách. Sau đó là gán nhãn từ loại, phân tích cú pháp và nhận dạng thực thể có "
    "tên, chẳng hạn tên người, tên tổ chức và địa danh. Những năm gần đây, các mô hình Transformer "
    "được huấn luyện trước trên hàng tỉ câu đã thay thế phần lớn các bước thủ công ấy. Chúng biểu "
    "diễn mỗi đoạn văn bằng một véc-tơ, và hai đoạn có nghĩa gần nhau thì véc-tơ của chúng cũng gần "
    "nhau, dù không chung một từ nào. Nhờ vậy người ta có thể tìm tài liệu theo ý nghĩa, dịch máy, "
    "tóm tắt văn bản, hoặc trả lời câu hỏi dựa trên kho tài liệu riêng của mình."
)
LONG_ENGLISH = (
    "Retrieval-augmented generation answers a question in two steps. First a retriever looks for "
    "passages that may contain the answer: a lexical index such as BM25 finds the words of the "
    "question, while a dense index finds passages whose embeddings point in the same direction, "
    "even when no word is shared. The two rankings are fused, and a reranker reads the question "
    "together with each candidate to sort the best of them. Then a language model receives the "
    "passages along with the question and writes an answer that cites them. The model does not "
    "have to know the facts by heart, so documents can change every day without any training, "
    "private notes stay on the machine where they were written, and every claim can be checked "
    "against its source. When nothing relevant is found, the honest answer is that the documents "
    "do not say; a system that guesses instead is worse than none, because its errors look exactly "
    "like its knowledge."
)
LONG_JAPANESE = (
    "自然言語処理とは、人間が日常的に使っている言葉をコンピュータに処理させる一連の技術であり、"
    "人工知能と言語学の一分野である。日本語の文は単語の間に空白を置かないため、最初に形態素解析を行い、"
    "文を単語に分割して品詞を決める。続いて構文解析で単語どうしの係り受けを調べ、意味解析で文の意味を捉える。"
    "近年は大量の文章で事前学習した言語モデルが広く使われ、翻訳、要約、質問応答などの精度が大きく向上した。"
    "しかし、モデルが事実でないことをもっともらしく述べる問題は残っており、"
    "手元の文書を検索して根拠を示しながら答える方法が注目されている。"
)

TEXTS = [  # (prefix, text)
    ("query: ", "NLP là gì?"),
    ("query: ", "Tách từ tiếng Việt khác gì với tiếng Anh?"),
    ("query: ", unicodedata.normalize("NFD", "Tiếng Việt có mấy thanh điệu?")),
    ("query: ", "tach tu tieng viet la gi"),
    ("passage: ", "Hà Nội là thủ đô của nước Cộng hòa xã hội chủ nghĩa Việt Nam."),
    ("passage: ", "ma, má, mà, mả, mã, mạ\n\n\tSáu từ,   sáu nghĩa…  "),
    ("passage: ", LONG_VIETNAMESE),
    ("query: ", "What is natural language processing?"),
    ("query: ", "the"),
    ("passage: ", "BM25 ranks documents by term frequency, saturated by k₁ = 1.2 (see §3)."),
    ("passage: ", LONG_ENGLISH),
    ("query: ", "形態素解析とは何ですか？"),
    ("passage: ", "東京は日本の首都で、人口は約１４００万人です。㌔・ﾃﾞｰﾀ"),
    ("passage: ", LONG_JAPANESE),
    ("query: ", "การประมวลผลภาษาธรรมชาติคืออะไร"),
    ("passage: ", "ภาษาไทยเขียนติดกันโดยไม่เว้นวรรคระหว่างคำ จึงต้องตัดคำก่อนประมวลผล"),
    ("query: ", "什么是机器学习？"),
    ("passage: ", "中文文本没有空格，分词是自然语言处理的第一步。"),
    ("query: ", "Что такое обработка естественного языка?"),
    ("passage: ", "Отлично 👍🏽 — смайлики тоже текст: ½ м², ﬁne, Ⅷ."),
]


def main() -> None:
    folder = models_folder() / MODEL
    deterministic()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    model = BertModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False).eval()

    cases = []
    for prefix, text in TEXTS:
        ids = tokenizer(prefix + text)["input_ids"]
        states = model(torch.tensor([ids])).last_hidden_state[0]
        vector = F.normalize(states.mean(dim=0), dim=0)
        cases.append({"prefix": prefix, "text": text, "ids": ids, "vector": rounded(vector)})
    write_golden(
        HERE / "embedder.json",
        {"made_by": "tests/goldens/embedder.py", "model": MODEL, "cases": cases},
    )


if __name__ == "__main__":
    main()
