//! What people read is written in Vietnamese and in English.
//!
//! The sources of the command line, of the server and of the terminal are read as text. A piece of text there is told in
//! both languages if it stands in `pick(vi, en)`, in an arm of `Vi` or `En`, or in a field `vi` or `en`; and
//! what is meant to be Vietnamese has to look like it, what is meant to be English must not.
//!
//! Errors and `--help` are in English alone: they are looked up, quoted and searched for, and say the names
//! of options. So are the words of JSON.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What makes an error, or is for programmers.
const ERRORS: [&str; 17] = [
    "bail",
    "ensure",
    "anyhow",
    "context",
    "with_context",
    "expect",
    "assert",
    "assert_eq",
    "unreachable",
    "panic",
    "warn",
    "debug",
    "error",
    "Err",
    "ok_or",
    "ok_or_else",
    "map_err",
];

/// What takes a text in Vietnamese and then one in English.
const PICKS: [&str; 4] = ["pick", "measuring", "add", "timed"];

/// Texts in one language, and why.
const ALONE: [(&str, &str, &str); 23] = [
    ("cli/args.rs", "", "--help"),
    ("cli/bench/mod.rs", "Xử lý ngôn ngữ", "the text that is embedded"),
    ("cli/config/error.rs", "", "errors"),
    ("cli/config/file.rs", "", "errors"),
    ("cli/config/trust.rs", "cannot write", "an error"),
    ("cli/doctor/mod.rs", "", "errors and advice"),
    ("cli/doctor/text.rs", "KV cache", "a name"),
    ("cli/lines.rs", "", "errors"),
    ("cli/repl/commands.rs", "[NAME VALUE]", "stands for arguments, as in --help"),
    ("cli/repl/saved.rs", "<!--", "marks that are read again"),
    ("cli/selection.rs", "", "errors"),
    ("cli/serve.rs", "there is no index", "an error"),
    ("cli/session.rs", "   relevance {", "names of figures, as in --json"),
    ("cli/session.rs", "   judged {", "the same"),
    ("cli/session.rs", "   {}. {:.4}  dense", "the same"),
    ("cli/session.rs", "--- system", "names of the protocol"),
    ("server/http/", "", "errors"),
    ("server/keep_alive.rs", "", "errors"),
    ("server/local/", "", "errors"),
    ("server/mcp/", "", "what agents read"),
    ("server/metrics.rs", "", "what Prometheus reads"),
    ("terminal/messages.rs", "🔄 Embedding", "names"),
    ("terminal/pager.rs", "", "errors"),
];

struct Text {
    /// As in the source.
    written: String,
    /// Names of the calls, macros and attributes around it, innermost last, each with the number of its
    /// argument.
    calls: Vec<(String, usize)>,
    /// The pattern of the arm that it is in, or the name of the field.
    arm: String,
}

/// The pieces of text in a source, without its tests.
fn texts(source: &str) -> Vec<Text> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let bytes: Vec<char> = code.chars().collect();
    let mut texts = Vec::new();
    let mut calls: Vec<(String, usize)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            '/' if bytes.get(at + 1) == Some(&'/') => {
                while at < bytes.len() && bytes[at] != '\n' {
                    at += 1;
                }
            }
            '\'' if bytes.get(at + 1) == Some(&'\\') => {
                at += 2;
                while bytes[at] != '\'' || bytes[at - 1] == '\\' && bytes[at - 2] != '\\' {
                    at += 1;
                }
            }
            '\'' if bytes.get(at + 2) == Some(&'\'') => at += 2,
            'r' if raw_hashes(&bytes, at).is_some() => {
                let hashes = raw_hashes(&bytes, at).unwrap();
                let start = at + hashes + 2;
                let end: Vec<char> = ['"'].into_iter().chain(vec!['#'; hashes]).collect();
                let length = bytes[start..].windows(end.len()).position(|part| part == end);
                let length = length.expect("the text has an end");
                let written: String = bytes[start..start + length].iter().collect();
                let before: String = bytes[..at].iter().collect();
                texts.push(Text { written, calls: calls.clone(), arm: arm(&before) });
                at = start + length + hashes;
            }
            '"' => {
                let start = at + 1;
                at = start;
                while bytes[at] != '"' {
                    at += if bytes[at] == '\\' { 2 } else { 1 };
                }
                let text: String = bytes[start..at].iter().collect();
                let before: String = bytes[..start - 1].iter().collect();
                texts.push(Text { written: text, calls: calls.clone(), arm: arm(&before) });
            }
            '(' | '[' | '{' => {
                let name: Vec<char> = bytes[..at].iter().rev().copied().collect();
                let skipped = name.iter().take_while(|c| **c == '!').count();
                let name = name[skipped..].iter().take_while(|c| c.is_alphanumeric() || **c == '_');
                let name: Vec<char> = name.copied().collect();
                calls.push((name.into_iter().rev().collect(), 0));
            }
            ')' | ']' | '}' => drop(calls.pop()),
            ',' => calls.last_mut().into_iter().for_each(|(_, argument)| *argument += 1),
            _ => {}
        }
        at += 1;
    }
    texts
}

/// How many `#` the raw text has that begins at this `r`; `None` if there is none.
fn raw_hashes(code: &[char], at: usize) -> Option<usize> {
    let is_part_of_name = at > 0 && (code[at - 1].is_alphanumeric() || code[at - 1] == '_');
    let hashes = code[at + 1..].iter().take_while(|c| **c == '#').count();
    (!is_part_of_name && code.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// The pattern of the last arm that began, or the field that a text directly follows.
fn arm(before: &str) -> String {
    if let Some(field) = before.trim_end().strip_suffix(':') {
        return field
            .chars()
            .rev()
            .take_while(|c| c.is_alphanumeric())
            .collect::<Vec<_>>()
            .iter()
            .rev()
            .collect();
    }
    let Some(end) = before.rfind("=>") else { return String::new() };
    let start = before[..end].rfind('\n').map_or(0, |at| at + 1);
    before[start..end].to_owned()
}

/// The words of a text that are meant for people: without what is filled in, and without code.
fn words(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let (mut depth, mut is_code) = (0_usize, false);
    for c in text.replace("\\n", " ").chars() {
        match c {
            '`' => is_code = !is_code,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if depth == 0 && !is_code => plain.push(c),
            _ => {}
        }
    }
    let words =
        plain.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphabetic()));
    let is_word = |word: &&str| word.chars().count() > 1 && word.chars().all(char::is_alphabetic);
    words.filter(is_word).map(str::to_owned).collect()
}

/// Whether it has letters that Vietnamese has and English has not.
fn looks_vietnamese(text: &str) -> bool {
    text.chars().any(|c| c.is_alphabetic() && ('À'..='ỹ').contains(&c))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What is wrong with a text; `None` if nothing is.
fn fault(text: &Text) -> Option<&'static str> {
    let Text { written: text, calls, arm } = text;
    if words(text).len() < 2 || calls.iter().any(|(name, _)| ERRORS.contains(&name.as_str())) {
        return None;
    }
    let pick = calls.iter().rev().find(|(name, _)| PICKS.contains(&name.as_str()));
    // `timed` takes both as a pair.
    let pick = pick.map(|pick| if pick.0 == "timed" { &calls[calls.len() - 1] } else { pick });
    let is_vietnamese = match pick {
        Some((_, argument)) => Some(*argument == 0),
        None if arm.contains("Vi") || arm == "vi" => Some(true),
        None if arm.contains("En") || arm == "en" => Some(false),
        None => None,
    };
    match is_vietnamese {
        None => Some("is told in one language alone"),
        Some(true) if !looks_vietnamese(text) => Some("does not look Vietnamese"),
        Some(false) if looks_vietnamese(text) => Some("does not look English"),
        Some(_) => None,
    }
}

#[test]
fn what_people_read_is_written_in_both_languages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    let mut unused: Vec<_> = ALONE.to_vec();
    let mut read = 0;
    for room in ["cli", "server", "terminal"] {
        for path in sources(&root.join(room)) {
            let source = fs::read_to_string(&path).unwrap();
            // Whole files of tests.
            if source.contains("#![cfg(test)]")
                || path.ends_with("on_a_gpu.rs")
                || path.ends_with("tests.rs")
            {
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            for text in texts(&source) {
                read += 1;
                let Some(fault) = fault(&text) else { continue };
                let is_known = |(file, begin, _): &&(&str, &str, &str)| {
                    name.starts_with(file) && text.written.starts_with(begin)
                };
                match ALONE.iter().find(is_known) {
                    Some(known) => unused.retain(|one| one != known),
                    None => faults.push(format!("{name}: {:?} {fault}", text.written)),
                }
            }
        }
    }
    assert!(read > 500, "only {read} texts were found");
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(unused.is_empty(), "no longer there: {unused:#?}");
}

#[test]
fn the_page_of_the_server_has_all_its_texts_in_both_languages() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/page");
    let read = |name: &str| fs::read_to_string(page.join(name)).unwrap();
    let (html, script) = (read("index.html"), read("app.js"));
    let (_, json) = html.split_once(r#"id="texts">"#).unwrap();
    let (json, _) = json.split_once("</script>").unwrap();
    let texts: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(json).unwrap();
    let (vi, en) = (&texts["vi"], &texts["en"]);
    assert!(vi.keys().eq(en.keys()), "{:?}\n{:?}", vi.keys(), en.keys());
    let filled = |text: &str| -> BTreeSet<String> {
        let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    for (name, text) in vi {
        assert_eq!(filled(text), filled(&en[name]), "{name}");
        // The switch is written for those who read the other language.
        let [vi, en] =
            if name.starts_with("language") { [&en[name], text] } else { [text, &en[name]] };
        assert!(words(vi).len() < 2 || looks_vietnamese(vi), "{name}: {vi}");
        assert!(!looks_vietnamese(en), "{name}: {en}");
    }
    let named = |source: &str, before: &str| -> Vec<String> {
        let names = source.split(before).skip(1).filter_map(|rest| rest.split_once('"'));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    let mut used = named(&script, "text(\"");
    for attribute in ["text", "label", "hint"] {
        used.extend(named(&html, &format!("data-{attribute}=\"")));
    }
    assert!(used.len() > 30, "{used:?}");
    let unknown: Vec<_> = used.iter().filter(|name| !en.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn what_is_missing_in_a_language_is_found() {
    let faults = |source: &str| {
        texts(source).iter().filter_map(fault).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(faults(r#"terminal.say("only in English");"#), ["is told in one language alone"]);
    assert_eq!(faults(r#"let x = format!("{a} files of {b} folders");"#).len(), 1);
    assert_eq!(faults(r#"self.pick("không có gì", "nothing is here")"#), [""; 0]);
    assert_eq!(
        faults(r#"self.pick("nothing is here", "nothing is here")"#),
        ["does not look Vietnamese"]
    );
    assert_eq!(faults(r#"self.pick("không có gì", "không có gì")"#), ["does not look English"]);
    assert_eq!(
        faults(
            "match self {\n Self::Vi => format!(\"có {n} tệp\"),\n Self::En => \"some files\" }"
        ),
        [""; 0]
    );
    assert_eq!(
        faults("Command { vi: \"quit it\", en: \"quit it\" }"),
        ["does not look Vietnamese"]
    );
    for fine in [
        r#"bail!("there is no source {n}")"#,
        r#"it.with_context(|| format!("cannot read {file}"))"#,
        r#"terminal.print("{a} {b}\n")"#,
        r#"x.split("one-word")"#,
        "x.find(r\"\\\"); y(r#\"a \"quoted\" b\"#)",
        "// say(\"a comment of words\")\nlet c = '\"';",
        "#[cfg(test)]\nmod tests { \"some English text\" }",
    ] {
        assert_eq!(faults(fine), [""; 0], "{fine}");
    }
}
