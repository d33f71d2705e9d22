//! The sample knowledge base with the demo profile's real models, as users have it: the index has
//! its 88 chunks, questions find their section, and what the notes do not answer is refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

struct Question {
    text: String,
    /// Heading of the section that answers it, if one does.
    heading: Option<String>,
}

fn questions() -> Vec<Question> {
    let lines = include_str!("questions-notes.jsonl").lines();
    lines
        .map(|line| {
            let question: Value = serde_json::from_str(line).unwrap();
            Question {
                text: question["question"].as_str().unwrap().to_owned(),
                heading: question["heading"].as_str().map(ToOwned::to_owned),
            }
        })
        .collect()
}

fn rag_query(index: &Path, args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rag-query"))
        .args(["--profile", "demo", "--quiet", "--json", "--index"])
        .arg(index)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn json_lines(output: &Output) -> Vec<Value> {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Vietnamese as people type it in haste: "Học máy là gì?" → "Hoc may la gi?".
fn strip_marks(text: &str) -> String {
    let plain = |c| match c {
        'đ' => 'd',
        'Đ' => 'D',
        c => c,
    };
    text.nfd().filter(|&c| !is_combining_mark(c)).map(plain).collect()
}

fn lines<'a>(questions: impl IntoIterator<Item = &'a str>) -> String {
    questions.into_iter().flat_map(|question| [question, "\n"]).collect()
}

fn texts(questions: &[Question]) -> impl Iterator<Item = &str> {
    questions.iter().map(|question| question.text.as_str())
}

/// The innermost heading of a hit.
fn section(hit: &Value) -> &str {
    hit["heading"].as_str().unwrap().rsplit(" > ").next().unwrap()
}

#[test]
fn the_notes_answer_what_they_know_and_refuse_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let notes = Path::new(env!("CARGO_MANIFEST_DIR")).join("index/notes");
    let built = rag_query(dir.path(), &["index", notes.to_str().unwrap()], "");
    assert_eq!(json_lines(&built)[0]["chunks"], 88);

    let (known, unknown): (Vec<Question>, Vec<Question>) =
        questions().into_iter().partition(|question| question.heading.is_some());
    assert_eq!((known.len(), unknown.len()), (40, 8));

    check_first_hits(dir.path(), &known);
    check_questions_without_marks(dir.path(), &known);
    check_answers(dir.path(), &known[..5]);
    check_refusals(dir.path(), &unknown);
}

fn check_first_hits(index: &Path, known: &[Question]) {
    let found = rag_query(index, &["--top-k", "1", "search"], &lines(texts(known)));
    let first: BTreeMap<String, String> = json_lines(&found)
        .iter()
        .map(|hit| (hit["question"].as_str().unwrap().to_owned(), section(hit).to_owned()))
        .collect();
    let missed: Vec<&str> = known
        .iter()
        .filter(|question| first.get(&question.text) != question.heading.as_ref())
        .map(|question| question.text.as_str())
        .collect();
    assert!(missed.len() <= 3, "other sections came first for {missed:#?}");
}

/// Typed without marks, questions find nearly as much.
fn check_questions_without_marks(index: &Path, known: &[Question]) {
    let marked: Vec<&Question> = known.iter().filter(|q| strip_marks(&q.text) != q.text).collect();
    let found_within_ten = |typed: &dyn Fn(&Question) -> String| {
        let asked: Vec<String> = marked.iter().map(|question| typed(question)).collect();
        let input = lines(asked.iter().map(String::as_str));
        let hits = json_lines(&rag_query(index, &["--top-k", "10", "search"], &input));
        let finds = |(question, asked): &(&&Question, &String)| {
            hits.iter().any(|hit| {
                hit["question"] == asked.as_str()
                    && Some(section(hit)) == question.heading.as_deref()
            })
        };
        marked.iter().zip(&asked).filter(finds).count()
    };
    let with = found_within_ten(&|question| question.text.clone());
    let without = found_within_ten(&|question| strip_marks(&question.text));
    assert!(with >= 25 && without * 10 >= with * 9, "{without} of {with}, {} asked", marked.len());
}

fn check_answers(index: &Path, known: &[Question]) {
    let answered = rag_query(index, &["--extractive"], &lines(texts(known)));
    assert_eq!(answered.status.code(), Some(0));
    for answer in json_lines(&answered) {
        assert!(!answer["answer"].as_str().unwrap().is_empty(), "{}", answer["question"]);
        assert!(!answer["citations"].as_array().unwrap().is_empty(), "{}", answer["question"]);
    }
}

fn check_refusals(index: &Path, unknown: &[Question]) {
    let refused = rag_query(index, &["--extractive"], &lines(texts(unknown)));
    assert_eq!(refused.status.code(), Some(3));
    for answer in json_lines(&refused) {
        assert_eq!(answer["answered"], false, "{}", answer["question"]);
    }
}

/// The words for the one thing that an index is about are in every passage of it, and weigh nothing by
/// its own count; what its token vectors have in common is that thing.
#[test]
fn a_question_about_the_one_topic_of_an_index_is_answered() {
    let lease = "The rental term of the flat in Mill Lane is 24 months.\n";
    let minutes = [
        "Biên bản họp tổ dân phố Bàu Cát ngày 3 tháng 1: bà Lan giữ sổ thu chi của tổ dân phố.\n",
        "Biên bản họp tổ dân phố Bàu Cát ngày 7 tháng 2: tổ dân phố Bàu Cát dọn vệ sinh ngõ.\n",
        "Biên bản họp tổ dân phố Bàu Cát ngày 9 tháng 3: tổ dân phố Bàu Cát thay đèn đường.\n",
    ];
    let rent = "Die Kaltmiete beträgt 850 Euro im Monat, die Kündigungsfrist drei Monate.\n";
    let pets = "賃貸契約は三月一日に始まる。家賃は月850ユーロである。ペットは飼えない。\n";
    let cases: [(&[&str], &str, &str); 5] = [
        (&[rent], "Wie hoch ist die Kaltmiete?", "850 Euro"),
        (&[pets], "家賃はいくらですか。", "850ユーロ"),
        (&[lease], "What is the rental term of the flat?", "24 months"),
        (&[lease, lease, lease], "What is the rental term of the flat?", "24 months"),
        (&minutes, "Ai giữ sổ thu chi của tổ dân phố Bàu Cát?", "bà Lan"),
    ];
    for (texts, question, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let notes = dir.path().join("notes");
        for (number, text) in texts.iter().enumerate() {
            let folder = notes.join(number.to_string());
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("text.md"), text).unwrap();
        }
        let index = dir.path().join("index");
        json_lines(&rag_query(&index, &["index", notes.to_str().unwrap()], ""));
        let answer = &json_lines(&rag_query(&index, &["--extractive", question], ""))[0];
        assert!(answer["answer"].as_str().unwrap().contains(expected), "{answer}");
        let other = "Cách nấu phở bò ngon tại nhà?";
        let refused = rag_query(&index, &["--extractive", other], "");
        assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stdout));
    }
}
