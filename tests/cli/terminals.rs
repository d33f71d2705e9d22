//! What different terminals get.

use std::process::Stdio;

use crate::harness::{ENDLESS, ENGLISH, Outcome, Sandbox, VIETNAMESE};
use crate::pty::{CTRL_C, CTRL_D, CTRL_Z, Pty, visible};
use crate::server::{Reaction, Server};

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

/// A shell with jobs starts the program: Ctrl-Z stops it, `fg` lets it go on.
#[test]
fn ctrl_z_stops_the_program_at_the_prompt_and_in_an_answer() {
    let sandbox = Sandbox::indexed();
    sandbox.write("job.sh", "set -m\n\"$@\"\necho stopped $?\nfg >/dev/null\necho ended $?\n");
    let program = env!("CARGO_BIN_EXE_rag-query");
    let start = |args: &[&str]| {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg("job.sh").arg(program).args(args).env_clear();
        let mut pty = Pty::start(sandbox.surround(shell));
        pty.wait_for(PROMPT);
        pty
    };
    let end = |mut pty: Pty| {
        pty.send(CTRL_D);
        pty.wait_for("ended 0");
        assert!(pty.end().0.success());
    };
    let mut pty = start(&["--extractive"]);
    pty.send("NLP là");
    pty.wait_for("NLP là");
    pty.send(CTRL_Z);
    pty.wait_for("stopped 14");
    // What was typed is still there.
    pty.wait_for("NLP là");
    pty.send(" gì?\r");
    pty.wait_for("Sources:");
    pty.wait_for(PROMPT);
    end(pty);

    let mut pty = start(&ENDLESS);
    pty.send(&format!("{ENGLISH}\r"));
    pty.wait_for("!!!!!!!!");
    pty.send(CTRL_Z);
    pty.wait_for("stopped 14");
    pty.wait_for("!!!!!!!!");
    pty.send(CTRL_C);
    pty.wait_for("Stopped.");
    pty.wait_for(PROMPT);
    end(pty);
}

#[test]
fn what_is_printed_follows_the_width_of_the_window() {
    let sandbox = Sandbox::indexed();
    let mut pty = Pty::start_with(sandbox.command(&["--extractive"]), 100);
    pty.wait_for(PROMPT);
    for columns in [100, 40, 70] {
        pty.resize(columns);
        for line in [VIETNAMESE, "/help", "/sources"] {
            pty.send(&format!("{line}\r"));
            pty.wait_for("\n");
            let shown = pty.wait_for(PROMPT);
            let seen = visible(&shown);
            // The lines above the answer are one each, and end where they end.
            let printed =
                seen.lines().skip_while(|line| line.starts_with("   ")).map(str::trim_end);
            let longest = printed.map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= usize::from(columns), "{columns}: {seen}");
            assert!(line != "/help" || columns < 100 || longest > 40, "{columns}: {seen}");
        }
    }
    pty.send(CTRL_D);
    assert!(pty.end().0.success());
}

#[test]
fn without_colours_there_is_none_and_a_dumb_terminal_gets_text_alone() {
    const ANSWER: &[&str] = &["# Trả lời\n\n**NLP** là `xử lý` ngôn ngữ tự nhiên [1].\n"];
    let sandbox = Sandbox::indexed();
    for (variables, is_styled, is_colored) in [
        (&[][..], true, true),
        (&[("NO_COLOR", "1")], true, false),
        (&[("TERM", "dumb")], false, false),
    ] {
        let server = Server::start(vec![Reaction::Says(ANSWER)]);
        let mut command = sandbox.command(&["--llm", &server.llm()]);
        command.env("PAGER", "").envs(variables.iter().copied());
        let mut pty = Pty::start(command);
        pty.wait_for(PROMPT);
        for line in [VIETNAMESE, "/sources 1", "/help"] {
            pty.send(&format!("{line}\r"));
            pty.wait_for("\n");
            pty.wait_for(PROMPT);
        }
        pty.send(CTRL_D);
        let (status, screen) = pty.end();
        assert!(status.success(), "{screen}");
        assert_eq!(screen.contains("\u{1b}[0;1m"), is_styled, "{variables:?}: {screen:?}");
        assert_eq!(screen.contains(";36m") || screen.contains("[36m"), is_colored, "{screen:?}");
        let has_escapes = screen.contains('\u{1b}');
        assert_eq!(has_escapes, is_styled, "{variables:?}: {screen:?}");
    }
}

#[test]
fn a_paste_of_several_lines_is_one_question_and_ctrl_r_finds_it_again() {
    let sandbox = Sandbox::indexed();
    let mut pty = Pty::start(sandbox.command(&["--extractive", "--json"]));
    pty.wait_for(PROMPT);
    pty.send("\u{1b}[200~NLP\nlà\r\ngì?\u{1b}[201~");
    pty.wait_for("gì?");
    pty.send("\r");
    pty.wait_for("\"question\":\"NLP\\nlà\\ngì?\",\"searched\":\"NLP là gì?\"");
    pty.wait_for(PROMPT);
    // The terminal was told to mark pastes, and is told to stop while nothing is read.
    pty.send("What is tokenization?\r");
    pty.wait_for("\u{1b}[?2004l");
    pty.wait_for("\u{1b}[?2004h");
    pty.wait_for(PROMPT);
    pty.send("\u{12}NLP");
    pty.wait_for("(reverse-i-search)`NLP'");
    pty.send("\r");
    pty.wait_for("\"searched\":\"NLP là gì?\"");
    pty.wait_for(PROMPT);
    pty.send("/help\r");
    pty.wait_for("Ctrl-R search the history");
    pty.wait_for(PROMPT);

    // A window that is closed loses nothing of the history.
    pty.send("/search coffee\r");
    pty.wait_for("1. ");
    pty.wait_for(PROMPT);
    pty.close();
    let mut pty = Pty::start(sandbox.command(&["--extractive"]));
    pty.wait_for(PROMPT);
    pty.send("\u{1b}[A");
    pty.wait_for("/search coffee");
    pty.send(CTRL_C);
    pty.wait_for(PROMPT);
    pty.send(CTRL_D);
    assert!(pty.end().0.success());
}
