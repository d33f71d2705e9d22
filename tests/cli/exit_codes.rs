//! The exit codes that scripts rely on.

#[cfg(unix)]
use std::io::{BufRead, BufReader, Read};
#[cfg(unix)]
use std::process::Stdio;

use serde_json::Value;

#[cfg(unix)]
use crate::harness::{ENDLESS, Outcome};
use crate::harness::{ENGLISH, Sandbox, VIETNAMESE};

#[test]
fn answered_is_0() {
    let sandbox = Sandbox::indexed();
    for args in
        [&[VIETNAMESE][..], &["--max-tokens", "4", ENGLISH], &["search", ENGLISH], &["--help"]]
    {
        let outcome = sandbox.run(args).exits(0);
        assert!(!outcome.stdout.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn no_index_is_1() {
    let sandbox = Sandbox::new();
    for args in [&[ENGLISH][..], &["search", ENGLISH], &["--json", ENGLISH]] {
        let index = sandbox.path("index");
        let missing = format!("there is no index in {}", index.display());
        sandbox.run(args).fails(1, &[&missing, "hint: ", "rag-query index PATH…"]);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_2() {
    let sandbox = Sandbox::indexed();
    let wrong: &[&[&str]] = &[
        &["--no-such-option"],
        &["--top-k", "0", ENGLISH],
        &["--top-k", "many", ENGLISH],
        &["--device", "gpu", ENGLISH],
        &["--lang", "fr", ENGLISH],
        &["--max-tokens", "0", ENGLISH],
        &["--temperature", "-1", ENGLISH],
        &["--temperature", "NaN", ENGLISH],
        &["--top-p", "0", ENGLISH],
        &["--top-p", "1.01", ENGLISH],
        &["--min-p", "1.5", ENGLISH],
        &["--min-p", "-0.1", ENGLISH],
        &["--sample-top-k", "0", ENGLISH],
        &["--repeat-penalty", "0", ENGLISH],
        &["--repeat-penalty", "inf", ENGLISH],
        &["config"],
        &["trust", "me"],
        &["models"],
        &["models", "eat"],
        &["completions", "cobol"],
        &["search", "two", "questions"],
    ];
    for args in wrong {
        let outcome = sandbox.run(args).exits(2);
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn an_empty_question_is_2() {
    let sandbox = Sandbox::indexed();
    for question in ["", " ", "\t\n", "\u{a0}", "\u{1b}"] {
        sandbox.run(&[question]).fails(2, &["the question is empty"]);
        sandbox.run(&["search", question]).fails(2, &["the question is empty"]);
    }
}

#[test]
fn a_question_of_a_megabyte_is_2_and_the_next_one_is_answered() {
    let sandbox = Sandbox::indexed();
    let long = "token ".repeat((1 << 20) / 6 + 1);
    for args in [&["--json"][..], &["search", "--json", "--top-k", "1"]] {
        for length in [17 << 10, (1 << 20) - 1, 1 << 20, long.len()] {
            let input = format!("{}\n{VIETNAMESE}\n", &long[..length]);
            let outcome =
                sandbox.run_with_stdin(args, input).exits(2).tells(&["bytes; at most 16384"]);
            let [refused, answered] = &outcome.json_lines()[..] else { panic!("{outcome:#?}") };
            assert_eq!(refused["error"]["exit"], 2, "{refused}");
            assert_eq!(answered["question"], VIETNAMESE);
        }
    }
    // The system limits arguments to far less than a megabyte.
    sandbox.run(&[&long[..100_000]]).fails(2, &["the question has"]);
}

#[test]
fn nothing_relevant_is_3() {
    let sandbox = Sandbox::new();
    let profile = ["--profile", "tiny-strict"];
    sandbox.run(&[&profile[..], &["index", "notes/tokenization.md"]].concat()).exits(0);
    let outcome = sandbox.run(&[&profile[..], &[ENGLISH]].concat()).exits(3);
    assert!(outcome.stdout.is_empty(), "{outcome:#?}");
    let outcome = outcome.tells(&["Your documents say nothing about this", "--force"]);
    assert!(!outcome.stderr.contains("Loading Tiny LLM"), "{outcome:#?}");
    // A question whose words occur nowhere in the notes.
    let unknown = ["--json", "Zyzzogeton quux?"];
    let answer = sandbox.run(&[&profile[..], &unknown].concat()).exits(3).json();
    assert_eq!(answer["reason"], "no_match");
    let forced = ["--force", "--extractive", "--json", ENGLISH];
    let answer = sandbox.run(&[&profile[..], &forced].concat()).exits(0).json();
    assert_eq!((&answer["answered"], &answer["reason"]), (&true.into(), &Value::Null));
}

#[test]
fn a_question_to_an_empty_index_is_3() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("nothing")).unwrap();
    sandbox.run(&["index", "nothing"]).exits(0);
    for args in [&[ENGLISH][..], &["search", ENGLISH]] {
        let outcome = sandbox.run(args).exits(3);
        assert!(outcome.stdout.is_empty(), "{outcome:#?}");
    }
    for args in [&["--json", ENGLISH][..], &["--json", "--force", ENGLISH]] {
        assert_eq!(sandbox.run(args).exits(3).json()["reason"], "empty_index");
    }
}

#[test]
fn the_worst_of_several_questions_decides() {
    let sandbox = Sandbox::indexed();
    let long = "x".repeat(17 << 10);
    sandbox.run_with_stdin(&["--json"], format!("{VIETNAMESE}\n{long}\n{VIETNAMESE}\n")).exits(2);
    sandbox.run_with_stdin(&["--json"], format!("{VIETNAMESE}\n{VIETNAMESE}\n")).exits(0);
}

#[cfg(unix)]
#[test]
fn interrupted_is_130() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let sandbox = Sandbox::indexed();
    let mut child = sandbox
        .command(&[&ENDLESS[..], &[ENGLISH]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Waits until the answer begins.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let outcome = Outcome::of(child.wait_with_output().unwrap()).exits(130).tells(&["Stopped."]);
    // The text written until then is shown with its sources.
    assert!(rest.contains("Sources:"), "{rest} {outcome:#?}");
}

#[cfg(unix)]
#[test]
fn in_a_pipe_an_interruption_ends_all_questions() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let sandbox = Sandbox::indexed();
    sandbox.write("questions", format!("{VIETNAMESE}\n{ENGLISH}\n{VIETNAMESE}\n"));
    let mut child = sandbox
        .command(&[&ENDLESS[..], &["--json"]].concat())
        .stdin(std::fs::File::open(sandbox.path("questions")).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    // Waits until the second answer begins.
    assert!(stderr.any(|line| line.unwrap().contains("Loading Tiny endless LLM")));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let told: Vec<String> = stderr.map(Result::unwrap).collect();
    let outcome = Outcome::of(child.wait_with_output().unwrap()).exits(130);
    let answers = outcome.json_lines();
    assert_eq!(answers.len(), 2, "{outcome:#?} {told:?}");
    assert_eq!(answers[1]["reason"], "interrupted");
}
