//! Answers of an LLM on a server, which says what the test wants.

use std::path::Path;
#[cfg(unix)]
use std::process::Stdio;

use crate::harness::{DEMO, ENGLISH, Outcome, Sandbox};
use crate::server::{Reaction, Server, nobody, piece};
use crate::tls;

const ANSWER: &[&str] = &["Tokens are ", "units of text [1].", "\n"];

/// An index, but no LLM on this machine.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::indexed();
    for model in ["tiny-llama", "tiny-llama-endless"] {
        sandbox.remove(&format!("models/{model}"));
    }
    sandbox
}

fn ask(sandbox: &Sandbox, llm: &str) -> Outcome {
    sandbox.run(&["--llm", llm, ENGLISH])
}

fn ask_json(sandbox: &Sandbox, llm: &str) -> Outcome {
    sandbox.run(&["--json", "--llm", llm, ENGLISH])
}

fn with_keys(sandbox: &Sandbox, args: &[&str], keys: &[(&str, &str)]) -> Outcome {
    Outcome::of(sandbox.command(args).envs(keys.iter().copied()).output().unwrap())
}

#[test]
fn the_answer_of_a_server_is_streamed_and_cited_like_a_local_one() {
    let sandbox = sandbox();
    let server = Server::start(vec![Reaction::Says(ANSWER)]);
    let told = ask(&sandbox, &server.llm()).exits(0);
    assert!(told.stdout.starts_with("Tokens are units of text [1]."), "{told:#?}");
    assert!(told.stdout.lines().any(|line| line.starts_with("  [1] notes/")), "{told:#?}");
    let place = format!("remote:{}", server.host());
    let told = told.tells(&[&place, "are sent there"]);
    assert!(!told.stderr.contains("not encrypted"), "{told:#?}");

    let json = ask_json(&sandbox, &server.llm()).exits(0).json();
    assert_eq!(json["answer"], "Tokens are units of text [1].");
    assert_eq!((&json["mode"], &json["answered"]), (&"generative".into(), &true.into()));
    assert_eq!((&json["model"], &json["placement"]["llm"]), (&"m".into(), &place.into()));
    assert_eq!((&json["placement"]["embedder"], &json["reason"]), (&"cpu".into(), &().into()));
    assert_eq!(json["tokens"], serde_json::json!({ "prompt": 70, "generated": 9 }));
    assert_eq!(json["citations"].as_array().unwrap().len(), 1, "{json}");

    // The server gets exactly what `--show-prompt` shows.
    let shown = sandbox.run(&["--show-prompt", "--json", "--llm", &server.llm(), ENGLISH]);
    let shown = shown.exits(0).json();
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "showing the prompt asks no server");
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("authorization"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["messages"][0]["content"], shown["system"]);
    assert_eq!(body["messages"][1]["content"], shown["user"]);
    assert_eq!((&body["stream"], &body["temperature"]), (&true.into(), &0.0.into()));
}

/// The device of the profile is CUDA, which nobody looks at.
#[test]
fn no_gpu_is_needed_and_none_can_be_chosen() {
    let sandbox = sandbox();
    let server = Server::start(vec![Reaction::Says(ANSWER)]);
    let llm = server.llm();
    sandbox.run(&["--profile", "tiny-cuda", "--llm", &llm, ENGLISH]).exits(0);
    sandbox.run(&["--device", "cpu", "--llm", &llm, ENGLISH]).fails(2, &["--device"]);
    let both = ["--min-p", "0.1", "--repeat-penalty", "1.3", "--llm", &llm, ENGLISH];
    sandbox.run(&both).fails(2, &["--min-p, --repeat-penalty"]);
    sandbox.run(&["--llm", "openai:http://127.0.0.1/v1", ENGLISH]).fails(2, &["#MODEL"]);
    let error = sandbox.run(&["--llm", "openai:http://me:hidden@host/v1#m", ENGLISH]);
    assert!(!error.fails(2, &["RAG_QUERY_LLM_KEY"]).stderr.contains("hidden"));
    sandbox.run(&["bench", "--with-llm", "--llm", &llm]).tells(&["on this machine"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn unsupported_sentences_of_a_server_are_reported() {
    let server = Server::start(vec![Reaction::Says(&[
        "A token is a word, a part of a word or a single character [1]. ",
        "Purple elephants invented the submarine in 1723 on Mars [1].",
    ])]);
    let json = ask_json(&DEMO, &server.llm()).exits(0).json();
    let unsupported = json["unsupported"].as_array().unwrap();
    assert_eq!(unsupported.len(), 1, "{json}");
    assert!(unsupported[0]["text"].as_str().unwrap().contains("elephants"), "{json}");
}

#[test]
fn piped_questions_take_turns_and_skip_a_server_that_is_down() {
    let sandbox = sandbox();
    let servers: Vec<Server> =
        (0..2).map(|_| Server::start(vec![Reaction::Says(ANSWER)])).collect();
    let ask = |llm: &str| {
        let questions = format!("{ENGLISH}\n").repeat(6);
        let outcome = sandbox.run_with_stdin(&["--json", "--llm", llm], questions).exits(0);
        assert_eq!(outcome.json_lines().len(), 6);
        outcome
    };
    let [a, b] = &servers[..] else { unreachable!() };
    let outcome = ask(&format!("openai:{},{}#m", a.url(), b.url()));
    assert_eq!((a.requests().len(), b.requests().len()), (3, 3));
    let places: Vec<_> =
        outcome.json_lines().iter().map(|json| json["placement"]["llm"].clone()).collect();
    assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "{places:?}");

    let outcome = ask(&format!("openai:{},{},{}#m", a.url(), nobody(), b.url()));
    assert_eq!(outcome.stderr.matches("cannot be reached").count(), 2, "{outcome:#?}");
    outcome.tells(&[&format!("Trying {}", b.host())]);
    assert_eq!((a.requests().len(), b.requests().len()), (5, 7));
}

#[test]
fn a_server_that_may_do_better_later_is_asked_again_within_bounds() {
    let sandbox = sandbox();
    let busy = Reaction::status("503 Service Unavailable", "", r#"{"error":"loading"}"#);
    let empty = Reaction::stream(b"data: [DONE]\n\n");
    let server = Server::start(vec![busy.clone(), empty, Reaction::Says(ANSWER)]);
    ask(&sandbox, &server.llm()).exits(0).tells(&["HTTP 503", "it says: loading", "in 500 ms"]);
    assert_eq!(server.requests().len(), 3);

    let server = Server::start(vec![busy]);
    ask(&sandbox, &server.llm()).fails(1, &["HTTP 503"]);
    assert_eq!(server.requests().len(), 3);
    let later = Reaction::status("429 Too Many Requests", "Retry-After: 1\r\n", "{}");
    let server = Server::start(vec![later, Reaction::Says(ANSWER)]);
    ask(&sandbox, &server.llm()).exits(0).tells(&["HTTP 429", "in 1.0 s"]);
    let broken = Reaction::status("500 Internal Server Error", "", "<html>\u{1b}[31mno</html>");
    let server = Server::start(vec![broken]);
    let outcome = ask(&sandbox, &server.llm()).fails(1, &["HTTP 500", "look at its log"]);
    assert!(!outcome.stderr.contains('\u{1b}'));
    ask(&sandbox, &format!("openai:{}#m", nobody())).fails(1, &["cannot be reached", "start it"]);
}

#[test]
fn an_error_that_other_servers_would_repeat_ends_it_at_once() {
    let sandbox = sandbox();
    let too_long = r#"{"error":{"message":"maximum context length is 512 tokens"}}"#;
    let unknown = r#"{"error":{"message":"model \"m\" not found"}}"#;
    for (status, headers, body, parts) in [
        ("401 Unauthorized", "", "{}", &["HTTP 401", "no key was sent", "RAG_QUERY_LLM_KEY"][..]),
        ("400 Bad Request", "", too_long, &["does not fit", "512 tokens", "--context"]),
        ("404 Not Found", "", unknown, &["does not know the model `m`", "doctor"]),
        (
            "404 Not Found",
            "",
            "404 page not found",
            &["has nothing at /v1/chat/completions (HTTP 404)"],
        ),
        ("422 Unprocessable", "", r#"{"detail":"no"}"#, &["HTTP 422", "it says: no"]),
        (
            "302 Found",
            "Location: http://elsewhere.invalid/v1?secret\r\n",
            "",
            &["redirects to http://elsewhere.invalid/v1,"],
        ),
    ] {
        let server = Server::start(vec![Reaction::status(status, headers, body)]);
        ask(&sandbox, &server.llm()).fails(1, parts);
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_an_error_and_is_not_asked_for_again() {
    let sandbox = sandbox();
    let half = piece("Half an ans");
    let endless = format!("data: {}", "x".repeat(2 << 20));
    for rest in
        ["", "data: {\"choi", "data: nonsense\n\n", "data: {\"error\":\"cuda\"}\n\n", &endless]
    {
        let server = Server::start(vec![Reaction::stream(format!("{half}{rest}").as_bytes())]);
        let other = Server::start(vec![Reaction::Says(ANSWER)]);
        let llm = format!("openai:{},{}#m", server.url(), other.url());
        // Chance decides which server is first; with two questions, each server gets one.
        let questions = format!("{ENGLISH}\n{ENGLISH}\n");
        let outcome = sandbox.run_with_stdin(&["--llm", &llm], questions).exits(1);
        let outcome = outcome.tells(&["error: ", "broke off in mid-answer"]);
        assert!(outcome.stdout.contains("Half an ans\n"), "{outcome:#?}");
        assert_eq!((server.requests().len(), other.requests().len()), (1, 1));
    }
    // JSON has no half answers.
    let server = Server::start(vec![Reaction::stream(half.as_bytes())]);
    ask_json(&sandbox, &server.llm()).fails(1, &["broke off"]);
}

#[test]
fn malformed_streams_are_refused_and_odd_ones_are_read() {
    let sandbox = sandbox();
    let html = Reaction::Raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>hi".to_vec(),
    );
    for (reaction, part) in [
        (html, "text/html instead of a stream"),
        (Reaction::stream(b"data: {\"choices\": 7}\n\n"), "no chat completion"),
        (Reaction::stream(b"event: error\ndata: overloaded\n\n"), "overloaded"),
        (Reaction::stream(b"{\"error\":{\"message\":\"no GPU\"}}"), "no GPU"),
        (Reaction::stream(b"data: {\"type\":\"ping\"}\n\n"), "closed the stream"),
        (Reaction::stream(b"\xff\xfe\x00data\n\ndata: \xc3\n\n"), "no chat completion"),
        (
            Reaction::stream(b"data: {\"error\":{\"message\":\"out of memory\"}}\n\n"),
            "out of memory",
        ),
        (Reaction::stream(&vec![b'x'; 2 << 20]), "an event without an end"),
        (Reaction::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()), "cannot be reached"),
    ] {
        let server = Server::start(vec![reaction]);
        ask(&sandbox, &server.llm()).fails(1, &[part]);
    }
    // Comments, unusual line ends, no `[DONE]`, escape sequences; and more text than was asked for.
    let odd = "\u{feff}: hello\r\n\r\nevent: x\rdata: {\"choices\":[{\"delta\":{\"content\":\
               \"Red \\u001b[31m [1]\"},\"finish_reason\":\"stop\"}]}\r\r";
    let server = Server::start(vec![Reaction::stream(odd.as_bytes())]);
    let outcome = ask(&sandbox, &server.llm()).exits(0);
    assert!(outcome.stdout.starts_with("Red [31m [1]"), "{outcome:#?}");
    let flood = piece(&"word ".repeat(1000));
    let server = Server::start(vec![Reaction::open_stream(flood.as_bytes())]);
    let args = ["--json", "--max-tokens", "2", "--llm", &server.llm(), ENGLISH];
    assert_eq!(sandbox.run(&args).exits(0).json()["reason"], "max_tokens");
    server.wait_until_closed();
}

/// The marks may be cut anywhere, and the opening one may be missing.
#[test]
fn reasoning_is_neither_shown_nor_cited_nor_checked() {
    let sandbox = sandbox();
    let apart = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"I look at [2].\"}}]}\n\n";
    let stop = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    for stream in [
        format!(
            "{}{}{}",
            piece("<thi"),
            piece("nk>I look at [2].</thin"),
            piece("k>\n\nIt splits [1].")
        ),
        format!(
            "{}{}",
            piece("The user asks. I look at [2].\n</think>\n"),
            piece("It splits [1].")
        ),
        format!("{}{}", piece("I look at [2]. Certainly.\n"), piece("</think>\nIt splits [1].")),
        format!("{apart}{}", piece("It splits [1].")),
    ] {
        let server = Server::start(vec![Reaction::stream(format!("{stream}{stop}").as_bytes())]);
        let args = ["--json", "--llm", &server.llm(), ENGLISH];
        let outcome = sandbox.run(&args).exits(0);
        assert!(!outcome.stderr.contains("look at"), "{outcome:#?}");
        let json = outcome.json();
        assert_eq!(json["answer"], "It splits [1].", "{stream}");
        assert_eq!(json["citations"].as_array().unwrap().len(), 1, "{json}");
        let shown = sandbox.run(&[&["--show-thinking"], &args[..]].concat()).exits(0);
        assert!(shown.stderr.contains("look at [2]") || shown.stderr.contains("the answer begins"));
    }
}

#[test]
fn an_answer_without_text_is_an_error_that_says_what_came_instead() {
    let sandbox = sandbox();
    let event = |choice: &str| format!("data: {{\"choices\":[{choice}]}}\n\n");
    let end = |reason: &str| event(&format!(r#"{{"delta":{{}},"finish_reason":"{reason}"}}"#));
    let reasoning = event(r#"{"delta":{"reasoning":"hm","content":""}}"#);
    let call = event(r#"{"delta":{"tool_calls":[{"index":0,"function":{"name":"search"}}]}}"#);
    let refusal = event(r#"{"delta":{"refusal":"I will not"}}"#);
    let completion = event(r#"{"text":"It splits."}"#);
    for (stream, part) in [
        (format!("{reasoning}{}", end("length")), "--max-tokens"),
        (format!("{reasoning}{}", end("stop")), "reasoning"),
        (format!("{}{}", piece("<think>hm"), end("length")), "--max-tokens"),
        (format!("{call}{}", end("tool_calls")), "called a tool"),
        (format!("{refusal}{}", end("stop")), "it says: I will not"),
        (format!("{completion}{}", end("stop")), "text completion"),
        (end("content_filter"), "content filter"),
        (end("stop"), "wrote nothing"),
    ] {
        let server = Server::start(vec![Reaction::stream(stream.as_bytes())]);
        let outcome = ask_json(&sandbox, &server.llm()).fails(1, &["without text", part]);
        assert_eq!((&*outcome.stdout, server.requests().len()), ("", 1), "{stream}");
    }
}

#[test]
fn what_a_finish_reason_says_is_heeded() {
    let sandbox = sandbox();
    let with = |reason: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"It splits\"}},\"finish_reason\":\"{reason}\"}}]}}\n\n"
        )
    };
    for stream in [
        with(""),
        with("null"),
        with("error") + "data: [DONE]\n\n",
        with("abort"),
        // One that says "stop" with every piece does not know when it ends.
        format!("{}{}", with("stop"), with("stop")),
    ] {
        let server = Server::start(vec![Reaction::stream(stream.as_bytes())]);
        let outcome = ask_json(&sandbox, &server.llm()).fails(1, &["broke off"]);
        assert_eq!(outcome.stdout, "", "{stream}");
    }
    let filtered = with("content_filter") + "data: [DONE]\n\n";
    let server = Server::start(vec![Reaction::stream(filtered.as_bytes())]);
    let json = ask_json(&sandbox, &server.llm()).exits(0).tells(&["content filter"]).json();
    assert_eq!((&json["reason"], &json["answer"]), (&"content_filter".into(), &"It splits".into()));
}

#[test]
fn heartbeats_are_passed_over_and_other_forms_of_an_answer_are_read() {
    let sandbox = sandbox();
    let beats = "data:\n\ndata: {}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\ndata: {\"choices\":null}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":null}}\n\ndata: ping\n\n";
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let stream = [beats, &piece("It splits"), beats, &piece(" [1]."), beats, end, beats].concat();
    let whole = r#"{"choices":[{"message":{"content":[{"type":"text","text":"It splits [1]."}]},"finish_reason":"stop"}]}"#;
    for reaction in [Reaction::stream(stream.as_bytes()), Reaction::status("200 OK", "", whole)] {
        let server = Server::start(vec![reaction]);
        let json = ask_json(&sandbox, &server.llm()).exits(0).json();
        assert_eq!(json["answer"], "It splits [1].");
    }
}

#[test]
fn what_a_server_refuses_is_left_out_and_remembered() {
    let sandbox = sandbox();
    let refuses = |body: &str| Reaction::status("400 Bad Request", "", body);
    let server = Server::start(vec![
        refuses(
            r#"{"error":{"message":"Use 'max_completion_tokens': 'max_tokens' is not supported","param":"max_tokens"}}"#,
        ),
        refuses(r#"{"error":{"message":"System role not supported"}}"#),
        Reaction::Says(ANSWER),
    ]);
    let questions = format!("{ENGLISH}\n{ENGLISH}\n");
    let outcome = sandbox.run_with_stdin(&["--json", "--llm", &server.llm()], questions).exits(0);
    outcome.tells(&["does not take `max_tokens`", "does not take `system`"]);
    let requests = server.requests();
    assert_eq!(requests.len(), 4, "the second question is asked once");
    let body = requests[3].split_once("\r\n\r\n").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["max_tokens"], &body["max_completion_tokens"]), (&().into(), &512.into()));
    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
    let said = refuses(r#"{"error":{"message":"max_tokens is too large: at most 256"}}"#);
    let server = Server::start(vec![said]);
    ask(&sandbox, &server.llm()).fails(1, &["a smaller `--max-tokens`"]);
}

#[test]
fn what_a_server_counts_is_believed_within_reason() {
    let sandbox = sandbox();
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let counted = |prompt: &str, answer: &str| {
        let usage = format!("{{\"prompt_tokens\":{prompt},\"completion_tokens\":{answer}}}");
        let stream = format!(
            "{}{}{end}data: {{\"choices\":[],\"usage\":{usage}}}\n\n",
            piece("It"),
            piece(" splits [1].")
        );
        let server = Server::start(vec![Reaction::stream(stream.as_bytes())]);
        ask_json(&sandbox, &server.llm()).exits(0)
    };
    let lies = counted("18446744073709551615", "2560000000");
    assert_eq!(lies.json()["tokens"], serde_json::json!({ "prompt": 0, "generated": 2 }));
    assert!(!lies.stderr.contains("token/s"), "{lies:#?}");
    assert!(!counted("150", "5").stderr.contains("--context"));
    counted("20", "5").tells(&["read only 20 tokens", "--context"]);
}

/// The proxy is an address at which nobody answers: whoever asks it fails.
#[test]
fn nothing_for_this_machine_goes_through_a_proxy() {
    let sandbox = sandbox();
    let server = Server::start(vec![Reaction::Says(ANSWER)]);
    let proxy = nobody().replace("/v1", "");
    let port = server.host().rsplit_once(':').unwrap().1.to_owned();
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        for host in [server.host(), format!("localhost:{port}")] {
            let llm = format!("openai:http://{host}/v1#m");
            with_keys(&sandbox, &["--llm", &llm, ENGLISH], &[(variable, &proxy)]).exits(0);
        }
    }
    // Another machine (of a network for documentation) is asked through it, and that is said.
    let args = ["--llm", "openai:http://192.0.2.1:8000/v1#m", ENGLISH];
    let told = with_keys(&sandbox, &args, &[("HTTP_PROXY", &proxy)]).exits(1);
    let name = proxy.replace("http://", "");
    told.tells(&[
        &format!("through the proxy {name} (HTTP_PROXY)"),
        "can read the question",
        "cannot be reached",
    ]);
    let error = with_keys(&sandbox, &args, &[("HTTP_PROXY", "ftp://me:hidden@x")]);
    assert!(!error.fails(2, &["HTTP_PROXY"]).stderr.contains("hidden"));
}

#[test]
fn a_silent_server_is_given_up_even_if_it_sends_comments() {
    let sandbox = sandbox();
    let empty = piece("");
    for sent in [&b""[..], b": ping\n\n", b"data: {}\n\n", empty.as_bytes()] {
        let server = Server::start(vec![Reaction::drips(sent)]);
        let args = ["--llm-timeout", "1", "--llm", &server.llm(), ENGLISH];
        sandbox.run(&args).fails(1, &["silent for 1 s", "--llm-timeout"]);
        server.wait_until_closed();
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_key_is_sent_and_never_shown() {
    const SECRET: &str = "sk-never-to-be-seen";
    let sandbox = sandbox();
    let server = Server::start(vec![Reaction::Says(ANSWER)]);
    let args = ["--json", "--explain", "--llm", &server.llm(), ENGLISH];
    for variable in ["RAG_QUERY_LLM_KEY", "OPENAI_API_KEY"] {
        let outcome = with_keys(&sandbox, &args, &[(variable, SECRET)]).exits(0);
        assert!(!format!("{outcome:?}").contains("never"), "{outcome:#?}");
    }
    let header = format!("authorization: bearer {SECRET}");
    assert!(server.requests().iter().all(|request| request.to_lowercase().contains(&header)));

    // A server may repeat the key.
    let body = format!("{{\"error\":\"Incorrect API key {SECRET}\"}}");
    let event = format!("data: {body}\n\n");
    for reaction in [
        Reaction::status("401 Unauthorized", "", &body),
        Reaction::status("500 Oh", "", &body),
        Reaction::status("302 Found", &format!("Location: /{SECRET}\r\n"), ""),
        Reaction::stream(event.as_bytes()),
        Reaction::stream(piece(&format!("Your key is {SECRET} [1].")).as_bytes()),
        Reaction::stream(format!("{}{}", piece("sk-never-to-"), piece("be-seen")).as_bytes()),
        Reaction::status(
            "400 Bad Request",
            "",
            r#"{"error":"bad key \u0073k-\u006eever-to-be-seen"}"#,
        ),
        Reaction::status("200 OK", "", r#"{"data":[{"id":"sk-never-to-be-seen"}]}"#),
    ] {
        let server = Server::start(vec![reaction]);
        let args = ["--llm", &server.llm(), ENGLISH];
        for args in [&args[..], &["doctor", "--llm", &server.llm()]] {
            let outcome = with_keys(&sandbox, args, &[("RAG_QUERY_LLM_KEY", SECRET)]);
            assert!(!format!("{outcome:?}").contains("never"), "{outcome:#?}");
        }
    }
    let error = with_keys(&sandbox, &args, &[("RAG_QUERY_LLM_KEY", "never\u{1}")]);
    assert!(!error.fails(1, &["RAG_QUERY_LLM_KEY"]).stderr.contains("never"));
}

#[test]
fn doctor_names_the_servers_and_what_is_wrong_with_them() {
    let sandbox = sandbox();
    let server = Server::start(vec![Reaction::Says(ANSWER)]);
    let doctor = sandbox.run(&["doctor", "--llm", &server.llm()]).exits(0);
    for part in
        [format!("LLM on remote:{}", server.host()), format!("llm       ✅ m on {}", server.url())]
    {
        assert!(doctor.stdout.contains(&part), "no {part} in {doctor:#?}");
    }
    let dead = format!("openai:{}#x,{}#m", server.url(), nobody());
    let doctor = sandbox.run(&["doctor", "--json", "--llm", &dead]).exits(1).json();
    let problems: Vec<_> = doctor["models"].as_array().unwrap()[2..]
        .iter()
        .map(|model| model["problem"].as_str().unwrap().to_owned())
        .collect();
    assert!(problems[0].contains("has no model `x`; it has m"), "{problems:?}");
    assert!(problems[1].contains("cannot be reached"), "{problems:?}");
    assert_eq!((&doctor["gpu"], &doctor["placement"]["llm"]), (&().into(), &().into()));
}

#[test]
fn an_encrypted_server_is_asked_if_its_certificate_is_trusted() {
    let sandbox = sandbox();
    let server = Server::start(vec![Reaction::Says(ANSWER)]);
    let door = tls::door(server.host());
    let ask = |host: &str, authorities: &Path| {
        let llm = format!("openai:https://{host}:{door}/v1#m");
        let mut command = sandbox.command(&["--llm", &llm, ENGLISH]);
        Outcome::of(command.env("SSL_CERT_FILE", authorities).output().unwrap())
    };
    let authority = tls::certificates("authority.pem");
    for host in ["127.0.0.1", "localhost"] {
        let told = ask(host, &authority).exits(0);
        assert!(told.stdout.starts_with("Tokens are units of text [1]."), "{told:#?}");
    }
    assert_eq!(server.requests().len(), 2);

    // No authority on Mozilla's list vouches for it, and asking again would not change that.
    let untrusted = ask("127.0.0.1", Path::new(""));
    let parts = ["certificate of the LLM server https://127.0.0.1", "UnknownIssuer"];
    let untrusted = untrusted.fails(1, &parts).tells(&["name a file", "SSL_CERT_FILE"]);
    assert!(!untrusted.stderr.contains("Trying"), "{untrusted:#?}");
    assert_eq!(server.requests().len(), 2);

    // A list that cannot be read is reported before anything is loaded, and only if it is needed.
    let none = ask("127.0.0.1", &sandbox.path("notes/nlp.md"));
    let none = none.fails(1, &["notes/nlp.md", "SSL_CERT_FILE", "no certificate"]);
    assert!(!none.stderr.contains("Loading"), "{none:#?}");
    let args = ["--llm", &server.llm(), ENGLISH];
    with_keys(&sandbox, &args, &[("SSL_CERT_FILE", "nowhere.pem")]).exits(0);
}

/// By the estimate, the small context has room for one passage.
#[test]
fn passages_that_do_not_fit_into_the_context_are_dropped() {
    let sandbox = sandbox();
    let server = Server::start(vec![Reaction::Says(ANSWER)]);
    let args = ["--llm", &server.llm(), "--context", "400", "--max-tokens", "50", ENGLISH];
    sandbox.run(&args).exits(0).tells(&["Dropped the"]);
    let args = ["--llm", &server.llm(), "--context", "256", ENGLISH];
    sandbox.run(&args).fails(1, &["256 tokens", "--context"]);
    assert_eq!(server.requests().len(), 1);
}

#[cfg(unix)]
#[test]
fn ctrl_c_closes_the_connection_and_keeps_what_was_written() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::io::Read;

    let sandbox = sandbox();
    let server = Server::start(vec![Reaction::open_stream(piece("Tokens are").as_bytes())]);
    let mut child = sandbox
        .command(&["--llm", &server.llm(), ENGLISH])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 10];
    child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"Tokens are");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    server.wait_until_closed();
    Outcome::of(child.wait_with_output().unwrap()).exits(130).tells(&["Stopped"]);
}
