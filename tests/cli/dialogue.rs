//! The commands of the dialogue that do something with its answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Sandbox, VIETNAMESE};
use crate::pty::{CTRL_C, CTRL_D, Pty};

const PROMPT: &str = "❯ ";

/// A dialogue of these arguments at its first prompt.
fn dialogue(sandbox: &Sandbox, args: &[&str]) -> Pty {
    started(sandbox.command(args))
}

fn started(command: Command) -> Pty {
    let mut pty = Pty::start(command);
    pty.wait_for(PROMPT);
    pty
}

/// Types a line, and returns what is shown until the next prompt.
#[track_caller]
fn say(pty: &mut Pty, line: &str) -> String {
    pty.send(&format!("{line}\r"));
    // The line is shown as it is typed, and once more when it is complete.
    pty.wait_for("\n");
    pty.wait_for(PROMPT)
}

#[track_caller]
fn leave(mut pty: Pty) {
    pty.send(CTRL_D);
    let (status, screen) = pty.end();
    assert!(status.success(), "{screen}");
}

/// A program in the sandbox.
fn program(sandbox: &Sandbox, name: &str, script: &str) -> String {
    sandbox.write(name, format!("#!/bin/sh\n{script}\n"));
    let path = sandbox.path(name);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_source_opens_in_the_pager_with_the_words_marked_that_were_looked_for() {
    let sandbox = Sandbox::indexed();
    let pager = program(&sandbox, "pager", "echo paged with $1; cat >page.txt");
    let mut command = sandbox.command(&["--extractive"]);
    command.env("PAGER", format!("{pager} --quietly"));
    let mut pty = started(command);
    say(&mut pty, VIETNAMESE);
    let shown = say(&mut pty, "/sources 1");
    assert!(shown.contains("paged with --quietly"), "{shown}");
    let page = fs::read_to_string(sandbox.path("page.txt")).unwrap();
    // A word of the question, and the sentence that the answer quotes.
    let quoted = "Tên tiếng Anh đầy đủ là Natural Language Processing";
    for marked in ["NLP", quoted] {
        assert!(page.contains(&format!("\u{1b}[7m{marked}\u{1b}[27m")), "{page}");
    }
    assert!(page.starts_with("[1] notes/") && !page.contains("\u{1b}[7mlà"), "{page}");
    leave(pty);

    let mut command = sandbox.command(&["--extractive"]);
    command.env("PAGER", "no-such-pager");
    let mut pty = started(command);
    say(&mut pty, VIETNAMESE);
    let shown = say(&mut pty, "/sources 1");
    assert!(shown.contains("error: cannot start the pager `no-such-pager` (PAGER)"), "{shown}");
    leave(pty);

    // Without a pager the text is printed, and on a dumb terminal without marks.
    for (term, mark) in [("xterm", "\u{1b}[7mNLP\u{1b}[27m"), ("dumb", "NLP")] {
        let mut command = sandbox.command(&["--extractive"]);
        command.env("PAGER", "").env("TERM", term);
        let mut pty = started(command);
        say(&mut pty, VIETNAMESE);
        let shown = say(&mut pty, "/sources 1");
        assert!(shown.contains("[1] notes/") && shown.contains(mark), "{shown}");
        assert_eq!(shown.contains("\u{1b}[7m"), term == "xterm", "{shown}");
        leave(pty);
    }
}

#[test]
fn ctrl_c_in_the_pager_is_for_the_pager() {
    let sandbox = Sandbox::indexed();
    let script = "trap 'n=$((n+1)); echo caught $n' INT; n=0; cat >/dev/null; echo paging
        while [ $n -lt 2 ]; do sleep 0.1; done; echo left";
    let mut command = sandbox.command(&["--extractive"]);
    command.env("PAGER", program(&sandbox, "pager", script));
    let mut pty = started(command);
    say(&mut pty, VIETNAMESE);
    pty.send("/sources 1\r");
    pty.wait_for("paging");
    pty.send(CTRL_C);
    pty.wait_for("caught 1");
    // Later than what could belong to the first.
    std::thread::sleep(std::time::Duration::from_millis(700));
    pty.send(CTRL_C);
    pty.wait_for("caught 2");
    pty.wait_for("left");
    pty.wait_for(PROMPT);
    leave(pty);
}

#[test]
fn a_question_is_asked_again_as_if_for_the_first_time() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &["--extractive"]);
    assert!(say(&mut pty, "/retry").contains("No answer yet."));
    say(&mut pty, VIETNAMESE);
    let follow_up = "còn nhược điểm?";
    let joined = format!("searching for: {VIETNAMESE} {follow_up} (joined");
    for line in [follow_up, "/retry", "/retry"] {
        let shown = say(&mut pty, line);
        assert!(shown.contains(&joined), "{shown}");
        assert_eq!(shown.contains(&format!("Question: {follow_up}")), line == "/retry", "{shown}");
    }
    say(&mut pty, "/save talk.md");
    let saved = fs::read_to_string(sandbox.path("talk.md")).unwrap();
    assert_eq!(saved.matches("## ").count(), 2, "the last question stands there once: {saved}");
    say(&mut pty, "/new");
    assert!(say(&mut pty, "/retry").contains("No answer yet."));
    // A question that failed can be asked again too.
    sandbox.remove("models/tiny-llama/model.gguf");
    leave(pty);
    let mut pty = dialogue(&sandbox, &[]);
    for line in ["What is tokenization?", "/retry"] {
        let shown = say(&mut pty, line);
        assert!(shown.contains("error: ") && shown.contains("model.gguf"), "{shown}");
    }
    leave(pty);
}

/// The text that base64 stands for.
fn decoded(base64: &str) -> String {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = base64.bytes().filter(|&c| c != b'=').map(value).collect();
    let bytes = letters.chunks(4).flat_map(|four| {
        let bits =
            four.iter().fold(0, |bits, &v| bits << 6 | u32::from(v)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    String::from_utf8(bytes.collect()).unwrap()
}

#[test]
fn an_answer_is_copied_through_the_terminal() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &["--extractive"]);
    assert!(say(&mut pty, "/copy").contains("No answer yet."));
    say(&mut pty, VIETNAMESE);
    let shown = say(&mut pty, "/copy");
    let (_, rest) = shown.split_once("\u{1b}]52;c;").expect(&shown);
    let (sequence, said) = rest.split_once('\u{7}').expect(&shown);
    assert!(said.contains("to the terminal's clipboard (OSC 52"), "{said}");
    let answer = sandbox.run(&["--extractive", "--json", VIETNAMESE]).exits(0).json();
    assert_eq!(decoded(sequence), answer["answer"].as_str().unwrap());
    leave(pty);

    // A terminal that obeys nothing would show the sequence.
    let mut command = sandbox.command(&["--extractive"]);
    command.env("TERM", "dumb");
    let mut pty = started(command);
    say(&mut pty, VIETNAMESE);
    let shown = say(&mut pty, "/copy");
    assert!(shown.contains("error: this terminal has no clipboard"), "{shown}");
    assert!(!shown.contains("]52;"), "{shown}");
    leave(pty);
}

#[test]
fn a_saved_dialogue_goes_on_where_it_ended() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &["--extractive"]);
    say(&mut pty, VIETNAMESE);
    say(&mut pty, "/save talk.md");
    leave(pty);

    let mut pty = dialogue(&sandbox, &["--extractive"]);
    let shown = say(&mut pty, "/load talk.md");
    assert!(shown.contains("talk.md: going on from 1 question"), "{shown}");
    let shown = say(&mut pty, "/sources");
    assert!(shown.contains("[1] notes/") && shown.contains("has only the names"), "{shown}");
    let shown = say(&mut pty, "còn nhược điểm?");
    assert!(shown.contains(&format!("searching for: {VIETNAMESE} còn nhược điểm?")), "{shown}");
    say(&mut pty, "/save longer.md");
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).unwrap();
    assert!(read("longer.md").starts_with(&read("talk.md")), "{}", read("longer.md"));

    // What is none of ours changes nothing.
    sandbox.write("notes.md", "# Notes\n\n## NLP là gì?\n");
    sandbox.write("binary.md", [0xff, 0xfe]);
    for (file, why) in [
        ("notes.md", "notes.md is no saved dialogue: it does not begin with `<!-- rag-query"),
        ("binary.md", "cannot read binary.md: it is not UTF-8"),
        ("nowhere.md", "cannot read nowhere.md"),
        ("", "name the file: /load FILE.md"),
    ] {
        let shown = say(&mut pty, &format!("/load {file}"));
        assert!(shown.contains(&format!("error: {why}")), "{shown}");
    }
    let shown = say(&mut pty, "/retry");
    assert!(shown.contains(&format!("searching for: {VIETNAMESE} còn nhược điểm?")), "{shown}");
    leave(pty);
}

#[test]
fn options_of_answers_change_for_the_rest_of_the_dialogue() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &["--json"]);
    let passages = |shown: &str| shown.matches("\"cited\":").count();
    say(&mut pty, "/set extractive true");
    let before = passages(&say(&mut pty, VIETNAMESE));
    assert!(before > 1);
    let shown = say(&mut pty, "/set top_k 1");
    assert!(shown.contains("top-k = 1, from the next question on"), "{shown}");
    // The conversation goes on.
    let shown = say(&mut pty, "còn nhược điểm?");
    assert!(shown.contains("searching for: NLP là gì? còn nhược điểm?"), "{shown}");
    assert_eq!(passages(&shown), 1, "{shown}");
    let shown = say(&mut pty, "/set");
    for line in ["top-k = 1\r\n", "extractive = true\r\n", "top-p = -\r\n", "max-tokens = 512\r\n"]
    {
        assert!(shown.contains(line), "{shown}");
    }
    say(&mut pty, "/set top-k default");
    assert!(say(&mut pty, "/set top-k").contains("top-k = 5\r\n"));
    for (wrong, why) in [
        ("temprature 1", "there is no setting `temprature`; did you mean `temperature`?"),
        ("top-k 0", "invalid value '0' for '--top-k <N>': expected a number from 1 to 1000"),
        ("force maybe", "`maybe` is no value for `force`: expected true or false"),
        ("device cpu", "`device` is set when the program starts"),
    ] {
        let shown = say(&mut pty, &format!("/set {wrong}"));
        assert!(shown.contains(&format!("error: {why}")), "{shown}");
    }
    leave(pty);
    // What servers do not take is refused at once.
    let mut pty = dialogue(&sandbox, &["--llm", "openai:http://127.0.0.1:9/v1#m"]);
    assert!(say(&mut pty, "/set min-p 0.1").contains("error: "));
    assert!(say(&mut pty, "/set min-p").contains("min-p = -"));
    leave(pty);
}

#[test]
fn a_dialogue_turns_to_another_index_and_to_another_profile() {
    let sandbox = Sandbox::indexed();
    sandbox.write("tea.md", "# Tea\n\nTea is served at nine in the tea room.\n");
    sandbox.run(&["--index", "@tea", "index", "tea.md"]).exits(0);
    let mut pty = dialogue(&sandbox, &["--max-tokens", "4"]);
    assert!(say(&mut pty, "/index").contains("files      4"));
    let shown = say(&mut pty, "What is tokenization?");
    assert!(shown.contains("Loading Tiny LLM") && shown.contains("notes/"), "{shown}");

    let shown = say(&mut pty, "/index @tea");
    assert!(shown.contains("1 chunk") && shown.contains("Started a new conversation."), "{shown}");
    let shown = say(&mut pty, "When is tea served?");
    // The LLM stays.
    assert!(shown.contains("[1] tea.md") && !shown.contains("Loading Tiny LLM"), "{shown}");

    // What cannot be turned to changes nothing.
    for (line, why) in [
        ("/index @nowhere", "error: "),
        ("/profile nobody", "error: "),
        ("/profile tiny-other", "error: the index was built with"),
    ] {
        let shown = say(&mut pty, line);
        assert!(shown.contains(why), "{shown}");
        assert!(!shown.contains("Started a new"), "{shown}");
    }
    assert!(say(&mut pty, "/sources").contains("[1] tea.md"));
    let shown = say(&mut pty, "/profile");
    assert!(shown.contains("* tiny ") && shown.contains("  tiny-cross "), "{shown}");
    let shown = say(&mut pty, "/profile tiny-cross");
    assert!(shown.contains("LLM: Tiny LLM") && shown.contains("Started a new"), "{shown}");
    let shown = say(&mut pty, "When is tea served?");
    assert!(shown.contains("[1] tea.md") && shown.contains("Loading Tiny LLM"), "{shown}");
    leave(pty);
}

#[test]
fn tab_completes_what_a_command_takes() {
    let sandbox = Sandbox::indexed();
    let editor = program(&sandbox, "editor", "echo edits $*");
    let mut command = sandbox.command(&["--extractive"]);
    command.env("EDITOR", editor);
    let mut pty = started(command);
    let document = say(&mut pty, "/open notes/tok\t");
    assert!(
        document.contains("edits") && document.contains("/notes/tokenization.md"),
        "{document}"
    );
    for (typed, expected) in [
        ("/set top-k\t", "top-k = 5"),
        ("/set max\t", "max-tokens = 512"),
        ("/profile tiny-ju\t", "LLM: Tiny content LLM"),
        ("/load notes/nl\t", "notes/nlp.md is no saved dialogue"),
        ("/open notes/nothing", "error: the index has no document notes/nothing"),
    ] {
        let shown = say(&mut pty, typed);
        assert!(shown.contains(expected), "{typed}: {shown}");
    }
    leave(pty);
}
