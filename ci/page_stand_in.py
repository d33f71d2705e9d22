"""A stand-in for `rag-query serve`, for ci/page-check: serves the page's files with the server's
Content-Security-Policy, and answers as the page must be ready for: slowly, badly, with hostile texts.
"""
import http.server
import json
import pathlib
import re
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "src" / "server" / "page"
TYPES = {"index.html": "text/html", "app.js": "text/javascript", "style.css": "text/css"}
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


def section(file, heading, lines):
    """A passage of the sample notes."""
    first, last = lines
    text = (ROOT / "index" / "notes" / file).read_text().split("\n")[first - 1:last]
    return {"document": f"index/notes/{file}", "document_id": f"/notes/{file}", "heading": heading,
            "lines": [first, last], "score": 1.36, "cited_by": "model", "text": "\n".join(text)}


TOKENS = section("11-english-basics.md", "NLP basics in English > How does tokenization work?", (14, 20))
SENSES = section("11-english-basics.md", "NLP basics in English > What is word sense disambiguation?", (24, 29))
FIELD = section("11-english-basics.md", "NLP basics in English > What is natural language processing?", (5, 10))
NLP = section("01-nlp-la-gi.md", "Nhập môn xử lý ngôn ngữ tự nhiên > NLP là gì?", (5, 9))
EVIL = "<img src=http://evil.example/x.png onerror=alert(1)>"
TRAP = {"document": f"{EVIL}\u202emd.exe", "document_id": "trap", "heading": f"<script>alert(2)</script> > {EVIL}",
        "pages": [2, 3], "score": 1.0, "recognized": True, "text": f"{EVIL} The <b>trap</b>.\n[x](http://evil.example)"}
TIMINGS = dict(rewrite=0, load_index=2.3, embed=7.5, search=0.7, rerank=55.6, load_llm=2104.0, prefill=286.8,
               judge=0, decode=1362.9, check=26.7)

ENGLISH = """Tokenization splits a text into **tokens**, the units that a model reads; each is replaced by a number \
from a fixed vocabulary [1].

Modern models use *subword* tokens:

1. Frequent words stay whole.
2. Rare words are broken into pieces: `tokenization` may become `token` and `ization` [1].

| method | learns pieces from |
|---|---|
| byte-pair encoding | data |
| WordPiece | data |

A later step may also decide which sense of a word is meant [1, 2]."""
VIETNAMESE = """Xử lý ngôn ngữ tự nhiên (NLP) là lĩnh vực nghiên cứu cách để máy tính phân tích, hiểu và tạo ra ngôn \
ngữ của con người [1].

Người ta thường chia NLP thành hai hướng:

- **NLU** (hiểu) biến câu chữ thành thông tin mà máy dùng được;
- **NLG** (sinh) biến thông tin thành câu chữ cho người đọc [1]."""
HOSTILE = f"""# {EVIL}

<script>alert(3)</script> ![pixel](http://evil.example/p.png) [click](http://evil.example/a) <http://evil.example>
[run](javascript:alert(4)) [1](http://evil.example/cite) [7] **<b>bold</b>** `{EVIL}`

- {EVIL}

> {EVIL}

| {EVIL} | b |
|---|---|
| <svg onload=alert(5)> | [2] |

```html
{EVIL}
```
\u202eesrever\u202c \x1b[31m***unclosed **a* _b"""


def answer(text, passages, **more):
    numbered = [{"n": n, "cited": f"[{n}" in text or f" {n}]" in text, **passage}
                for n, passage in enumerate(passages, 1)]
    cited = [passage for passage in numbered if passage["cited"]]
    return {"question": "", "searched": None, "answered": True, "reason": None, "mode": "generative", "answer": text,
            "citations": cited, "passages": numbered, "unsupported": [], "model": "Llama 3.1 8B Instruct Q4_K_M",
            "placement": {"embedder": "cpu", "reranker": "cpu", "llm": "cuda:0"}, "timings_ms": TIMINGS,
            "tokens": {"prompt": 965, "generated": 57}, **more}


def told(text, passages, pause=0.002, **more):
    """The events of a whole answer."""
    yield {"event": "searched", "took_ms": 8.2}
    yield {"event": "reranked", "took_ms": 55.6}
    yield {"event": "loading_llm"}
    yield {"event": "llm_loaded", "device": "cuda:0", "took_ms": 2104.0}
    yield {"event": "answering", "mode": more.get("mode", "generative")}
    for piece in re.findall(r"\S*\s*", text):
        time.sleep(pause)
        yield {"event": "text", "text": piece}
    yield {"event": "answered", "took_ms": 1362.9, "tokens": 57, "tokens_per_second": 41.5}
    yield {"event": "done", "answer": answer(text, passages, **more)}


def endless(_):
    yield {"event": "answering", "mode": "generative"}
    while True:
        time.sleep(0.02)
        yield {"event": "text", "text": "and so on "}


def refusal(reason, passages=()):
    yield {"event": "searched", "took_ms": 8.2}
    yield {"event": "done", "answer": answer("", passages, answered=False, reason=reason)}


def waiting(_):
    yield {"event": "queued", "ahead": 2}
    time.sleep(0.5)
    yield {"event": "queued", "ahead": 1}
    time.sleep(0.3)
    yield {"event": "rewriting"}
    yield {"event": "understood", "query": "What is a token in NLP?", "by_llm": True, "took_ms": 210.0}
    yield {"event": "from_a_newer_server"}
    yield {"event": "text", "text": "Let me think."}
    time.sleep(0.3)
    yield {"event": "retracted"}
    yield {"event": "notice", "text": "⚠️  The server seems to have read a part of the prompt only."}
    unsupported = [{"text": text, "start": 0, "end": len(text)} for text in ["It is a number.", "It is round."]]
    yield from told("It is a number. It is round. [1]", [TOKENS], unsupported=unsupported)


SCRIPT = {
    "What is tokenization?": lambda _: told(ENGLISH, [TOKENS, SENSES, FIELD], pause=0.01),
    "NLP là gì?": lambda _: told(VIETNAMESE, [NLP]),
    "hostile": lambda _: told(HOSTILE, [TRAP, TRAP]),
    "endless": endless,
    "waiting": waiting,
    "quoted": lambda _: told("One *sentence* of it. [1]\n1. another. [1]", [TOKENS], mode="extractive", model=None),
    "cut": lambda _: told("It begins well [1], but", [TOKENS], reason="max_tokens"),
    "unrelated": lambda _: refusal("low_relevance", [FIELD]),
    "judged": lambda _: refusal("not_in_passages", [FIELD]),
    "nothing": lambda _: refusal("no_match"),
    "no index": lambda _: refusal("empty_index"),
    "no gpu": lambda _: iter([{"event": "error", "message": "no CUDA device", "hint": "use --device cpu", "exit": 4}]),
    "breaks off": lambda _: iter([{"event": "text", "text": "It begins"}]),
}


def source(document_id):
    if document_id == "trap":
        return {"document": TRAP["document"],
                "passages": [{"heading": EVIL, "text": EVIL}, {"heading": TRAP["heading"], "text": TRAP["text"]}]}
    if document_id == NLP["document_id"]:
        return {"document": NLP["document"], "passages": [{"heading": NLP["heading"], "text": "Changed."}]}
    # The middle section is cut in two that overlap, as long sections are.
    lines = TOKENS["text"].split("\n")
    halves = ["\n".join(lines[:4]), "\n".join(lines[3:])]
    pieces = [FIELD["text"], *halves, SENSES["text"]]
    headings = [FIELD["heading"], TOKENS["heading"], TOKENS["heading"], SENSES["heading"]]
    passages = [{"heading": heading, "text": text} for heading, text in zip(headings, pieces)]
    return {"document": TOKENS["document"], "text": "\n".join(pieces), "passages": passages}


class StandIn(http.server.ThreadingHTTPServer):
    """What the page asks is in `asked`; `left` counts answers whose reader went away."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.left, self.key, self.status = [], 0, None, 200
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def send(self, status, content_type, body=b""):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        name = self.path.lstrip("/") or "index.html"
        if name == "health":
            llm = {"name": "Llama 3.1 8B Instruct Q4_K_M", "device": "cuda:0", "state": "loaded"}
            health = {"status": "ok", "version": "0.1.0", "profile": "default", "index": "index", "chunks": 88, "llm": llm}
            self.send(200, "application/json", json.dumps(health).encode())
        elif name in TYPES:
            self.send(200, f"{TYPES[name]}; charset=utf-8", (PAGE / name).read_bytes())
        else:
            self.send(404, "text/plain")

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            self.send(401, "application/json", b'{"error": {"message": "no key"}}')
        elif self.server.status != 200:
            self.send(self.server.status, "text/plain", b"no JSON")
        elif self.path == "/v1/source":
            self.send(200, "application/json", json.dumps(source(request["document_id"])).encode())
        else:
            self.server.asked.append(request)
            self.stream(SCRIPT[request["question"]](request))

    def stream(self, events):
        self.send(200, "text/event-stream", b": hello\n\n")
        try:
            for event in events:
                # In two pieces, since a network cuts where it likes.
                data = f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode()
                for piece in (data[:11], data[11:]):
                    self.wfile.write(piece)
                    self.wfile.flush()
        except OSError:
            self.server.left += 1
