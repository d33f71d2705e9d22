//! The dialogue on a terminal.

use crate::harness::{ENDLESS, ENGLISH, Sandbox, VIETNAMESE};
use crate::pty::{CTRL_C, CTRL_D, Pty, visible};
use crate::server::{Reaction, Server};

const PROMPT: &str = "❯ ";

/// A dialogue at its first prompt.
fn dialogue(sandbox: &Sandbox, args: &[&str]) -> Pty {
    let mut pty = Pty::start(sandbox.command(args));
    pty.wait_for("Type a question");
    pty.wait_for(PROMPT);
    pty
}

#[test]
fn questions_and_commands() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &[]);

    pty.send("/sources\r");
    pty.wait_for("No answer yet.");
    pty.wait_for(PROMPT);

    pty.send(&format!("{VIETNAMESE}\r"));
    pty.wait_for("Searching…");
    pty.wait_for("Sources:");
    pty.wait_for("] notes/");
    pty.wait_for(PROMPT);

    pty.send("/sources\r");
    pty.wait_for("Sources:");
    pty.wait_for("] notes/");
    pty.wait_for(PROMPT);

    pty.send("/help\r");
    for command in ["/help ", "/sources ", "/open ", "/search ", "/save ", "/new ", "/quit "] {
        pty.wait_for(command);
    }
    pty.wait_for("quit");
    pty.wait_for(PROMPT);

    pty.send("/dance\r");
    pty.wait_for("unknown command /dance");
    pty.wait_for(PROMPT);

    pty.send("/quit\r");
    let (status, screen) = pty.end();
    assert_eq!(status.code(), Some(0), "{screen}");
}

#[test]
fn sources_are_read_and_opened_and_a_conversation_is_saved() {
    let sandbox = Sandbox::indexed();
    sandbox.write("editor", "#!/bin/sh\necho \"edits $*\"\n");
    let editor = sandbox.path("editor");
    std::fs::set_permissions(&editor, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = sandbox.command(&["--extractive"]);
    command.env("VISUAL", format!("{} --wait", editor.display()));
    let mut pty = Pty::start(command);
    pty.wait_for(PROMPT);
    // Without a line that repeats the question below itself.
    pty.send(&format!("{VIETNAMESE}\r"));
    let asked = pty.wait_for("Sources:");
    assert!(!asked.contains("Question:"), "{asked}");
    pty.wait_for(PROMPT);

    pty.send("/sources 1\r");
    pty.wait_for("[1] notes/");
    pty.wait_for(PROMPT);
    pty.send("/sources 99\r");
    pty.wait_for("there is no source 99");
    pty.wait_for(PROMPT);
    pty.send("/open 1\r");
    let opened = pty.wait_for("/notes/");
    assert!(opened.contains("edits --wait"), "{opened}");
    pty.wait_for(PROMPT);
    pty.send("/search coffee machine\r");
    pty.wait_for("1. notes/");
    pty.wait_for(PROMPT);

    pty.send("/save talk.md\r");
    pty.wait_for("Saved as talk.md");
    pty.wait_for(PROMPT);
    let saved = std::fs::read_to_string(sandbox.path("talk.md")).unwrap();
    assert!(
        saved.contains(&format!("\n## {VIETNAMESE}\n\n")) && saved.contains("- [1] notes/"),
        "{saved}"
    );
    pty.send("/save talk.md\r");
    pty.wait_for("cannot write talk.md");
    pty.wait_for(PROMPT);
    assert_eq!(std::fs::read_to_string(sandbox.path("talk.md")).unwrap(), saved);

    // Tab completes a command.
    pty.send("/qu\t\r");
    assert!(pty.end().0.success());
}

/// A line that wraps cannot be redrawn in place, and would leave its parts behind.
#[test]
fn progress_fits_the_width_of_the_terminal() {
    let sandbox = Sandbox::new();
    for columns in [40, 90, 200] {
        let command = sandbox.command(&["index", "--rebuild", "notes"]);
        let (status, screen) = Pty::start_with(command, columns).end();
        assert!(status.success(), "{screen}");
        // Without the commands to the terminal, which begin with an escape and end with a letter.
        let mut parts = screen.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        let text = parts.fold(first, |text, part| {
            let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
            text + "\r" + &part[end..]
        });
        let bars: Vec<&str> =
            text.split(['\r', '\n']).filter(|line| line.contains("Indexing")).collect();
        assert!(!bars.is_empty(), "{screen}");
        for bar in bars {
            assert!(bar.chars().count() <= usize::from(columns), "{columns}: {bar:?}");
        }
    }
}

#[test]
fn the_llm_is_loaded_by_the_first_question_that_needs_it_and_stays() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &["--max-tokens", "4"]);
    pty.send(&format!("{ENGLISH}\r"));
    pty.wait_for("Loading Tiny LLM → cpu");
    pty.wait_for("Sources:");
    pty.wait_for(PROMPT);
    pty.send(&format!("{ENGLISH}\r"));
    let second = pty.wait_for("Sources:");
    assert!(!second.contains("Loading"), "{second}");
    pty.wait_for(PROMPT);
    pty.send(CTRL_D);
    assert!(pty.end().0.success());
}

#[test]
fn ctrl_c_stops_the_answer_and_not_the_dialogue() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &ENDLESS);
    for _ in 0..2 {
        pty.send(&format!("{ENGLISH}\r"));
        pty.wait_for("!!!!!!!!");
        pty.send(CTRL_C);
        pty.wait_for("Stopped.");
        pty.wait_for("Sources:");
        pty.wait_for(PROMPT);
    }
    // At the prompt it only clears the line.
    pty.send("half a question");
    pty.wait_for("half a question");
    pty.send(CTRL_C);
    pty.wait_for(PROMPT);
    pty.send("/help\r");
    pty.wait_for("quit");
    pty.wait_for(PROMPT);
    pty.send(CTRL_D);
    let (status, screen) = pty.end();
    assert_eq!(status.code(), Some(0), "{screen}");
}

#[test]
fn a_question_that_fails_does_not_end_the_dialogue() {
    let sandbox = Sandbox::indexed();
    sandbox.remove("models/tiny-llama/model.gguf");
    let mut pty = dialogue(&sandbox, &[]);
    pty.send(&format!("{ENGLISH}\r"));
    pty.wait_for("error: ");
    pty.wait_for("model.gguf");
    pty.wait_for(PROMPT);
    pty.send(&format!("{VIETNAMESE}\r"));
    pty.wait_for("Sources:");
    pty.wait_for(PROMPT);
    pty.send(CTRL_D);
    assert!(pty.end().0.success());
}

#[test]
fn history_is_kept_for_the_next_dialogue() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &[]);
    pty.send(&format!("{VIETNAMESE}\r"));
    pty.wait_for("Sources:");
    pty.wait_for(PROMPT);
    pty.send(CTRL_D);
    assert!(pty.end().0.success());

    let mut pty = dialogue(&sandbox, &[]);
    pty.send("\u{1b}[A");
    pty.wait_for(VIETNAMESE);
    pty.send("\r");
    pty.wait_for("Sources:");
    pty.wait_for(PROMPT);
    pty.send(CTRL_D);
    assert!(pty.end().0.success());
}

#[test]
fn a_follow_up_is_searched_for_with_what_it_goes_on_from_until_new() {
    let sandbox = Sandbox::indexed();
    let mut pty = dialogue(&sandbox, &["--max-tokens", "4", "--json"]);
    // Without the LLM: its language is not theirs, and it is not loaded for this.
    pty.send(&format!("{VIETNAMESE}\r"));
    let first = pty.wait_for("\"searched\":null");
    assert!(!first.contains("searching for"), "{first}");
    pty.wait_for(PROMPT);
    for follow_up in ["còn nhược điểm?", "Nó dùng để làm gì?"] {
        pty.send(&format!("{follow_up}\r"));
        pty.wait_for(&format!("searching for: {VIETNAMESE} {follow_up} (joined"));
        pty.wait_for(&format!(
            "\"question\":\"{follow_up}\",\"searched\":\"{VIETNAMESE} {follow_up}\""
        ));
        let rest = pty.wait_for(PROMPT);
        assert!(!rest.contains("Loading"), "{rest}");
    }
    // A question that stands by itself stays as it is.
    pty.send(&format!("{ENGLISH}\r"));
    let other = pty.wait_for("\"searched\":null");
    assert!(!other.contains("searching for"), "{other}");
    pty.wait_for(PROMPT);
    // The LLM is loaded now; its nonsense is not searched for.
    pty.send("and its drawbacks?\r");
    pty.wait_for(&format!("searching for: {ENGLISH} and its drawbacks? (joined"));
    pty.wait_for("\"rewrite\":");
    pty.wait_for(PROMPT);

    pty.send("/new\r");
    pty.wait_for("Started a new conversation.");
    pty.wait_for(PROMPT);
    pty.send("and its drawbacks?\r");
    let forgotten = pty.wait_for("\"searched\":null");
    assert!(!forgotten.contains("searching for"), "{forgotten}");
    pty.wait_for(PROMPT);
    pty.send(CTRL_D);
    assert!(pty.end().0.success());
}

const ANSWER: Reaction = Reaction::Says(&["Tokens are units of text [1]."]);

/// What a request asks: the two messages.
fn asked(request: &str) -> (String, String) {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let message = |n: usize| body["messages"][n]["content"].as_str().unwrap().to_owned();
    (message(0), message(1))
}

#[test]
fn a_server_rewrites_a_follow_up_and_what_it_cannot_rewrite_is_joined() {
    const REWRITTEN: &str = "What are the drawbacks of tokenization?";
    let sandbox = Sandbox::indexed();
    let server = Server::start(vec![
        ANSWER,
        Reaction::Says(&["What are the drawbacks", " of tokenization?\n", "\nI rewrote it."]),
        ANSWER,
        Reaction::Says(&["I am sorry, but I cannot help with that."]),
        ANSWER,
        Reaction::status("500 Internal Server Error", "", r#"{"error":"out of memory"}"#),
        ANSWER,
    ]);
    let mut pty = dialogue(&sandbox, &["--llm", &server.llm()]);
    let mut ask = |question: &str, told: &[&str]| {
        pty.send(&format!("{question}\r"));
        for part in told {
            pty.wait_for(part);
        }
        pty.wait_for("Sources:");
        pty.wait_for(PROMPT);
    };
    ask(ENGLISH, &[]);
    let told = ["Rewriting the follow-up… ✅", &format!("searching for: {REWRITTEN}\r\n")];
    ask("and its drawbacks?", &told);
    ask("Who noticed them?", &[&format!("searching for: {REWRITTEN} Who noticed them? (joined")]);
    let failed = "could not be rewritten: the LLM server";
    ask(
        "Why?",
        &[
            "Rewriting the follow-up… \r\nwarning: ",
            failed,
            "HTTP 500",
            "out of memory",
            &format!("{REWRITTEN} Why? (joined"),
        ],
    );
    pty.send(CTRL_D);
    let (status, screen) = pty.end();
    assert!(status.success());
    // Three were tried; of the others one was no question, and one failed.
    assert_eq!(screen.matches("Rewriting the follow-up… ").count(), 3, "{screen}");
    assert_eq!(screen.matches("Rewriting the follow-up… ✅").count(), 1, "{screen}");

    // Each of them once: what can be done without is not asked for again.
    let requests = server.requests();
    assert_eq!(requests.len(), 7);
    let (system, user) = asked(&requests[1]);
    assert!(system.starts_with("You rewrite the last message"), "{system}");
    let turn = format!("> Question: {ENGLISH}\n> Answer: Tokens are units of text [1].\n");
    assert!(user.contains(&turn) && user.contains("\n> and its drawbacks?\n"), "{user}");
    let body: serde_json::Value =
        serde_json::from_str(requests[1].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["max_tokens"], &body["temperature"]), (&64.into(), &0.0.into()));
    assert!(asked(&requests[2]).1.ends_with(&format!("Question: {REWRITTEN}")));
    let last = asked(&requests[5]).1;
    assert!(last.contains(&format!("> Question: {REWRITTEN}\n")), "{last}");
}

#[test]
fn follow_ups_are_rewritten_with_a_template_of_ones_own() {
    let sandbox = Sandbox::indexed();
    sandbox.write(
        "mine.jinja",
        "{% if role == 'user' %}{% for turn in turns %}{{ turn.question }} {% endfor %}\
         -> {{ question }}{% endif %}",
    );
    let rewritten = Reaction::Says(&["What are the drawbacks of tokenization?"]);
    let server = Server::start(vec![ANSWER, rewritten, ANSWER]);
    let args = ["--llm", &server.llm(), "--rewrite-prompt", "mine.jinja"];
    let mut pty = dialogue(&sandbox, &args);
    for question in [ENGLISH, "and its drawbacks?"] {
        pty.send(&format!("{question}\r"));
        pty.wait_for("Sources:");
        pty.wait_for(PROMPT);
    }
    pty.send(CTRL_D);
    assert!(pty.end().0.success());
    let expected = (String::new(), format!("{ENGLISH} -> and its drawbacks?"));
    assert_eq!(asked(&server.requests()[1]), expected);
}

#[test]
fn an_answer_is_laid_out_on_a_terminal_and_left_alone_in_a_pipe() {
    const ANSWER: &[&str] = &[
        "**NLP** l",
        "à xử lý ng",
        "ôn ngữ tự nhiên, một nhánh của trí tuệ nhân tạo [1].\n\n- M",
        "ột mục dài hơn một dòng của màn hình hẹp này\n",
    ];
    let server = Server::start(vec![Reaction::Says(ANSWER)]);
    let sandbox = Sandbox::indexed();
    let args = [VIETNAMESE, "--llm", &server.llm()];
    let (_, screen) = Pty::start_with(sandbox.command(&args), 40).end();
    let expected = "\u{1b}[0;1mNLP\u{1b}[0m là xử lý ngôn ngữ tự nhiên, một\r\n\
        nhánh của trí tuệ nhân tạo [1].\r\n\r\n\
        • Một mục dài hơn một dòng của màn hình\r\n  hẹp này\r\n";
    assert!(screen.contains(expected), "{screen}");
    // The sources too: a name that does not fit continues below itself.
    let seen = visible(&screen);
    let sources = seen.split("Sources:").nth(1).unwrap();
    assert!(sources.lines().all(|line| line.chars().count() <= 40), "{sources}");

    let plain = sandbox.run(&args);
    assert!(plain.stdout.starts_with(&ANSWER.concat()), "{}", plain.stdout);
}
