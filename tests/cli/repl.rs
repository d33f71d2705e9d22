//! The dialogue on a terminal.

use crate::harness::{ENDLESS, ENGLISH, Sandbox, VIETNAMESE};
use crate::pty::{CTRL_C, CTRL_D, Pty};

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
    pty.wait_for("There is no answer yet.");
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
    for command in ["/help ", "/sources ", "/new ", "/quit "] {
        pty.wait_for(command);
    }
    pty.wait_for("leave");
    pty.wait_for(PROMPT);

    pty.send("/dance\r");
    pty.wait_for("there is no command /dance");
    pty.wait_for(PROMPT);

    pty.send("/quit\r");
    let (status, screen) = pty.end();
    assert_eq!(status.code(), Some(0), "{screen}");
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
    pty.wait_for("leave");
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
    pty.wait_for("The conversation is forgotten.");
    pty.wait_for(PROMPT);
    pty.send("and its drawbacks?\r");
    let forgotten = pty.wait_for("\"searched\":null");
    assert!(!forgotten.contains("searching for"), "{forgotten}");
    pty.wait_for(PROMPT);
    pty.send(CTRL_D);
    assert!(pty.end().0.success());
}
