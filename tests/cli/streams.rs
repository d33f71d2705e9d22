//! What goes to which stream: answers and data to standard output, all else to standard error; and
//! nothing that a terminal would obey to either.

use insta::assert_snapshot;

use crate::harness::{DEMO, ENGLISH, Outcome, Sandbox, VIETNAMESE};

/// Signs that only lines about the work begin with.
const STAGES: [&str; 6] = ["🔄", "💬", "🔍", "🎯", "🤖", "✅"];

fn has_stages(text: &str) -> bool {
    STAGES.iter().any(|sign| text.contains(sign))
}

#[test]
fn the_demo_session_in_vietnamese() {
    let outcome = DEMO.run(&["--lang", "vi", VIETNAMESE]).exits(0);
    assert_snapshot!(DEMO.redact(&outcome.stderr), @r"
    🔄 LLM: SmolLM2 135M Instruct Q4_1 (CPU, chưa nạp)
       cấu hình demo khai báo chạy LLM trên CPU
    🔄 Đang nạp chỉ mục… ✅ 7 đoạn
    🔄 Embedding & reranker (CPU)… ✅ [time]
    💬 Câu hỏi: NLP là gì?
       🔍 Tìm kiếm… [time]
       🎯 Xếp hạng lại… [time]
       ℹ️  SmolLM2 135M Instruct Q4_1 không viết được ngôn ngữ của câu hỏi; trả lời bằng chính các câu trong tài liệu.
       🤖 Trả lời… [time]
    ");
    assert_snapshot!(outcome.stdout, @r"
    NLP (xử lý ngôn ngữ tự nhiên) là lĩnh vực của trí tuệ nhân tạo giúp máy tính hiểu và tạo ra ngôn ngữ của con người. [1]
    Tên tiếng Anh đầy đủ là Natural Language Processing. [1]

    Nguồn:
      [1] notes/nlp.md — Nhập môn NLP > NLP là gì? (dòng 5)
    ");
}

#[test]
fn the_demo_llm_answers_an_english_question_from_the_right_document() {
    let answer = DEMO.run(&["--json", ENGLISH]).exits(0).json();
    assert_eq!(answer["mode"], "generative", "{answer}");
    assert_eq!(answer["passages"][0]["document"], "notes/tokenization.md", "{answer}");
    let text = answer["answer"].as_str().unwrap().to_lowercase();
    assert!(text.contains("token"), "{text}");
}

#[test]
fn standard_output_is_the_answer_and_its_sources_alone() {
    let sandbox = Sandbox::indexed();
    for args in [
        &[VIETNAMESE][..],
        &["--max-tokens", "4", ENGLISH],
        &["search", ENGLISH],
        &["index", "notes"],
    ] {
        let outcome = sandbox.run(args).exits(0);
        assert!(!has_stages(&outcome.stdout), "{outcome:#?}");
        assert!(has_stages(&outcome.stderr), "{outcome:#?}");
    }
    let answer = sandbox.run(&[VIETNAMESE]).stdout;
    assert!(
        answer.contains("\n\nSources:\n  [") && answer.contains("] notes/nlp.md — "),
        "{answer}"
    );
    assert_eq!(sandbox.run(&["index", "notes"]).stdout, "");
}

#[test]
fn quiet_leaves_standard_error_empty() {
    let sandbox = Sandbox::indexed();
    for args in
        [&[VIETNAMESE][..], &["--extractive", ENGLISH], &["search", ENGLISH], &["index", "notes"]]
    {
        let loud = sandbox.run(args).exits(0);
        let quiet = sandbox.run(&[&["--quiet"], args].concat()).exits(0);
        assert_eq!(quiet.stderr, "");
        assert_eq!(quiet.stdout, loud.stdout);
    }
    // Errors are told in any case.
    sandbox.run(&["--quiet", "--index", "nowhere", ENGLISH]).fails(1, &["there is no index"]);
}

#[test]
fn messages_are_in_the_language_of_the_locale_or_the_option() {
    let sandbox = Sandbox::indexed();
    let ask = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = sandbox.command(&[args, &["--extractive", ENGLISH]].concat());
        command.env_remove("LC_ALL").envs(variables.iter().copied());
        Outcome::of(command.output().unwrap()).exits(0)
    };
    let vietnamese = |outcome: Outcome| {
        let vi =
            ["chưa nạp", "Đang nạp chỉ mục…", "Câu hỏi:", "Tìm kiếm…", "Xếp hạng lại…", "Trả lời…"];
        let en = [
            "not loaded",
            "Loading the index…",
            "Question:",
            "Searching…",
            "Reranking…",
            "Answering…",
        ];
        let (is, is_not, sources) = if outcome.stderr.contains("Câu hỏi") {
            (vi, en, "\nNguồn:\n")
        } else {
            (en, vi, "\nSources:\n")
        };
        assert!(is.iter().all(|part| outcome.stderr.contains(part)), "{outcome:#?}");
        assert!(!is_not.iter().any(|part| outcome.stderr.contains(part)), "{outcome:#?}");
        assert!(outcome.stdout.contains(sources), "{outcome:#?}");
        is == vi
    };
    assert!(vietnamese(ask(&["--lang", "vi"], &[("LC_ALL", "en_US.UTF-8")])));
    assert!(vietnamese(ask(&[], &[("LC_ALL", "vi_VN.UTF-8")])));
    assert!(vietnamese(ask(&[], &[("LANG", "vi_VN")])));
    assert!(vietnamese(ask(
        &[],
        &[("LC_ALL", ""), ("LC_MESSAGES", "vi_VN.UTF-8"), ("LANG", "en_US.UTF-8")]
    )));
    assert!(!vietnamese(ask(&[], &[("LC_ALL", "en_US.UTF-8"), ("LANG", "vi_VN.UTF-8")])));
    assert!(!vietnamese(ask(&["--lang", "en"], &[("LC_ALL", "vi_VN.UTF-8")])));
    assert!(!vietnamese(ask(&[], &[])));
}

#[test]
fn json_goes_with_any_language_unchanged() {
    let sandbox = Sandbox::indexed();
    let text = |lang| {
        let answer = sandbox.run(&["--lang", lang, "--json", VIETNAMESE]).exits(0).json();
        (answer["answer"].clone(), answer["citations"].clone(), answer["mode"].clone())
    };
    assert_eq!(text("vi"), text("en"));
}

#[test]
fn explain_shows_the_scores_of_every_passage_on_standard_error() {
    let sandbox = Sandbox::indexed();
    let plain = sandbox.run(&["--extractive", ENGLISH]).exits(0);
    let explained = sandbox.run(&["--explain", "--extractive", ENGLISH]).exits(0);
    assert_eq!(explained.stdout, plain.stdout);
    let lines =
        explained.stderr.lines().filter(|line| line.contains("dense") && line.contains("bm25"));
    assert_eq!(lines.count(), 5, "{explained:#?}");
    assert!(explained.stderr.contains("refused below -  gate strict"), "{explained:#?}");
}

#[test]
fn an_embedder_that_is_not_calibrated_is_said_to_refuse_nothing() {
    let sandbox = Sandbox::indexed();
    let outcome = sandbox.run(&["--lang", "en", "--extractive", ENGLISH]).exits(0);
    let told = "Relevance is not calibrated for Tiny embedder: no question is refused";
    assert_eq!(outcome.stderr.matches(told).count(), 1, "{outcome:#?}");
    let strict = Sandbox::new();
    let profile = ["--profile", "tiny-strict", "--lang", "en"];
    strict.run(&[&profile[..], &["index", "notes/tokenization.md"]].concat()).exits(0);
    let outcome = strict.run(&[&profile[..], &["--extractive", ENGLISH]].concat()).exits(3);
    assert!(!outcome.stderr.contains("not calibrated"), "{outcome:#?}");
}

#[test]
fn what_documents_tell_the_terminal_is_not_passed_on() {
    let sandbox = Sandbox::new();
    // A colour, a title, a clear screen in the one-byte form, and text that runs backwards.
    let escapes = "\u{1b}[31m\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    let text =
        |n: usize| format!("{escapes}Zebras{n} are striped animals{escapes} of the savanna.");
    sandbox.write("notes/zebra.md", format!("# Zebra {escapes} heading\n\n{}\n", text(1)));
    sandbox.write("notes/zebra.txt", text(2));
    let record = serde_json::json!({ "id": format!("zebra{escapes}"), "title": format!("Zebra {escapes}"), "text": text(3) });
    sandbox.write("notes/zebra.jsonl", record.to_string());
    #[cfg(unix)]
    sandbox.write("notes/zebra\u{1b}[31m.md", text(4));
    let obeyed = |text: &str| {
        text.chars().any(|c| (c.is_control() && !"\n\t".contains(c)) || c == '\u{202e}')
    };
    let indexed = sandbox.run(&["index", "notes"]).exits(0);
    assert!(!obeyed(&indexed.stderr), "{indexed:#?}");
    let question = "Which striped animals are the zebras of the savanna?";
    for args in [
        &["--extractive"][..],
        &["--explain", "--extractive"],
        &["--max-tokens", "4"],
        &["search", "--top-k", "20"],
        &["search", "--top-k", "20", "--explain"],
    ] {
        let outcome = sandbox.run(&[args, &[question]].concat()).exits(0);
        assert!(outcome.stdout.contains("ebra"), "the documents are not even shown: {outcome:#?}");
        assert!(!obeyed(&outcome.stdout), "{outcome:#?}");
        assert!(!obeyed(&outcome.stderr), "{outcome:#?}");
    }
    // Control characters of documents are dropped as they are read, so JSON has none either.
    let json = sandbox.run(&["search", "--json", "--top-k", "20", question]).exits(0);
    assert!(!json.stdout.contains('\u{1b}'), "{json:#?}");
    assert!(!json.json_lines().iter().any(|hit| hit["text"].as_str().unwrap().contains('\u{1b}')));
}

#[test]
fn what_questions_tell_the_terminal_is_not_passed_on() {
    let sandbox = Sandbox::indexed();
    let outcome = sandbox.run(&["--extractive", "\u{1b}[31mtoken\u{9b}2J\u{202e}?"]).exits(0);
    assert!(!outcome.stderr.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{outcome:#?}");
    let path = "no\u{1b}[31mwhere";
    let outcome = sandbox.run(&["--index", path, "token"]).exits(1);
    assert!(!outcome.stderr.contains('\u{1b}'), "{outcome:#?}");
}

/// What does not fit into the LLM's context is said, and the answer cites only what did.
#[test]
fn passages_that_do_not_fit_are_dropped_and_that_is_said() {
    let sandbox = Sandbox::indexed();
    let llm = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/tiny-llama/model.gguf");
    let ask = |context: u64, more: &[&str]| {
        let context = context.to_string();
        let args = ["--llm", llm, "--device", "cpu", "--lang", "en", "--context", &context];
        sandbox.run(&[&args[..], &["--max-tokens", "8"], more, &[ENGLISH]].concat()).exits(0)
    };
    let whole = ask(8192, &["--json"]).json()["tokens"]["prompt"].as_u64().unwrap();
    let roomy = ask(whole + 8, &[]);
    assert!(!roomy.stderr.contains("lowest-ranked"), "{roomy:#?}");
    let tight = ask(whole + 7, &[]);
    tight.tells(&["Dropped the 1 lowest-ranked passage(s): they do not fit"]);
}
