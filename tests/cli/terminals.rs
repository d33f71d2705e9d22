//! What different terminals get.

use std::process::Stdio;

use crate::harness::{ENGLISH, Outcome, Sandbox, VIETNAMESE};
use crate::pty::{CTRL_D, Pty, visible};

const PROMPT: &str = "❯ ";

/// The screen after a run with these variables.
fn screen(sandbox: &Sandbox, variables: &[(&str, &str)], columns: u16) -> String {
    let mut command = sandbox.command(&["--extractive", VIETNAMESE]);
    command.envs(variables.iter().copied());
    let (status, screen) = Pty::start_with(command, columns).end();
    assert!(status.success(), "{screen}");
    screen
}

#[test]
fn sources_are_links_where_the_terminal_takes_them() {
    let sandbox = Sandbox::indexed();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let file = sandbox.path("notes/nlp.md");
    let begin = format!("\u{1b}]8;id=1;file://{}{}\u{1b}\\", hostname.trim(), file.display());
    let whole = format!("{begin}[1] notes/nlp.md\u{1b}]8;;\u{1b}\\ — Nhập môn NLP");
    for (variables, is_linked) in [
        (&[][..], true),
        (&[("TERM", "xterm-256color")], true),
        (&[("TERM", "dumb")], false),
        (&[("TERM", "linux")], false),
        (&[("NO_COLOR", "1")], false),
        (&[("VTE_VERSION", "4600")], false),
        (&[("FORCE_HYPERLINK", "0")], false),
        (&[("FORCE_HYPERLINK", "1"), ("NO_COLOR", "1")], true),
    ] {
        let screen = screen(&sandbox, variables, 200);
        assert_eq!(screen.contains(&whole), is_linked, "{variables:?}: {screen:?}");
        assert_eq!(screen.contains("]8;"), is_linked, "{variables:?}: {screen:?}");
    }
    // Never in a pipe.
    let mut command = sandbox.command(&["--extractive", VIETNAMESE]);
    command.env("FORCE_HYPERLINK", "1").env("TERM", "xterm").stdin(Stdio::null());
    let piped = Outcome::of(command.output().unwrap()).exits(0);
    assert!(!piped.stdout.contains('\u{1b}'), "{piped:#?}");
}

#[test]
fn a_link_goes_on_below_where_its_line_breaks_and_obeys_no_name() {
    let sandbox = Sandbox::new();
    let name = "notes/a long name of a note that fits no line\u{1b}]8;;evil\u{7}.md";
    sandbox.write(name, "# NLP\n\nNLP là xử lý ngôn ngữ tự nhiên.\n");
    sandbox
        .run(&["index", "notes/a long name of a note that fits no line\u{1b}]8;;evil\u{7}.md"])
        .exits(0);
    let screen = screen(&sandbox, &[], 40);
    let address = "line%1B%5D8%3B%3Bevil%07.md\u{1b}\\";
    assert_eq!(screen.matches(address).count(), 2, "{screen:?}");
    assert!(!screen.contains("]8;;evil\u{7}"), "{screen:?}");
    let seen = visible(&screen);
    let sources = seen.split("Sources:").nth(1).unwrap();
    assert!(sources.lines().all(|line| line.chars().count() <= 40), "{sources}");
    assert!(sources.contains("[1] notes/a long name of a note"), "{sources}");
}

#[test]
fn below_an_answer_stands_who_wrote_it_where() {
    let sandbox = Sandbox::indexed();
    for (args, is_told) in [(&[][..], true), (&["--quiet"], false), (&["--extractive"], false)] {
        let mut pty = Pty::start(sandbox.command(&[&["--max-tokens", "40"], args].concat()));
        pty.wait_for(PROMPT);
        pty.send(&format!("{ENGLISH}\r"));
        pty.wait_for("Sources:");
        let below = pty.wait_for(PROMPT);
        assert_eq!(below.contains("📟 Tiny LLM · cpu"), is_told, "{below}");
        pty.send(CTRL_D);
        assert!(pty.end().0.success());
    }
}
