//! `--token-vectors`: how many bytes late interaction takes on disk.

use super::harness::{ENGLISH, Sandbox, VIETNAMESE};

/// Bytes of token vectors in an index, and the name of their codes.
fn stored(sandbox: &Sandbox, index: &str) -> (u64, String) {
    let info = sandbox.run(&["--index", index, "index", "info", "--json"]).exits(0).json();
    let codes = info["token_vectors"].as_str().unwrap_or("8-bit").to_owned();
    (info["parts"]["token_vectors"].as_u64().unwrap(), codes)
}

#[test]
fn every_kind_of_codes_finds_the_same_in_its_own_size() {
    let mut sandbox = Sandbox::new();
    sandbox.profile = "demo";
    let kinds = [
        ("8-bit", "8-bit", 388),
        ("4-bit", "4-bit", 194),
        ("standard", STANDARD.0, STANDARD.1),
        ("compact", "e5-small-48", 50),
    ];
    let mut tokens = Vec::new();
    for (kind, name, bytes) in kinds {
        sandbox.run(&["--index", kind, "--token-vectors", kind, "index", "notes"]).exits(0);
        let (size, codes) = stored(&sandbox, kind);
        assert_eq!(codes, name);
        tokens.push((size - 16) / bytes);
        assert_eq!((size - 16) % bytes, 0, "{kind}: {size}");
        sandbox.run(&["--index", kind, "index", "verify"]).exits(0);
    }
    assert!(tokens.iter().all(|&count| count == tokens[0] && count > 100), "{tokens:?}");
    for question in [ENGLISH, VIETNAMESE] {
        let best = |kind: &str| {
            let asked = ["--index", kind, "--json", "search", question];
            let best = sandbox.run(&asked).exits(0).json_lines().remove(0);
            (best["text"].to_string(), best["scores"]["rerank"].as_f64().unwrap())
        };
        let (text, score) = best("8-bit");
        for (kind, tolerance) in [("4-bit", 0.01), ("standard", 0.03), ("compact", 0.03)] {
            let (other, of_other) = best(kind);
            assert_eq!(other, text, "{kind}");
            // The best ones of a compact index are compared by vectors made anew, from which a mean is
            // subtracted that is none of those.
            assert!((of_other - score).abs() < tolerance, "{kind}: {of_other} {score}");
        }
    }
}

/// Name and bytes of the codes that are taken where nothing is said.
const STANDARD: (&str, u64) = ("e5-small-128", 130);

#[test]
fn an_index_keeps_its_codes_until_it_is_rebuilt() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--token-vectors", "8-bit", "index", "notes/nlp.md"]).exits(0);
    let eight = stored(&sandbox, "index");
    assert_eq!(eight.1, "8-bit");
    // Later runs add to it as it is, or say why not.
    sandbox.run(&["index", "notes"]).exits(0);
    assert_eq!(stored(&sandbox, "index").1, "8-bit");
    let other = ["--token-vectors", "4-bit", "index", "notes"];
    sandbox.run(&other).fails(1, &["8-bit", "4-bit", "--rebuild"]);
    sandbox.run(&[&other[..], &["--rebuild"]].concat()).exits(0);
    assert_eq!(stored(&sandbox, "index").1, "4-bit");
    // Neither one question nor one index can have both.
    sandbox.run(&["--index", "more", "--token-vectors", "8-bit", "index", "notes"]).exits(0);
    let both = ["--index", "index", "--index", "more", "search", ENGLISH];
    sandbox.run(&both).fails(1, &["8-bit", "4-bit"]);
    let from = sandbox.path("index").display().to_string();
    let into = sandbox.path("more").display().to_string();
    sandbox.run(&["index", "copy", &from, &into]).fails(1, &["8-bit", "4-bit"]);
    sandbox.run(&["--index", "more", "index", "verify"]).exits(0);
}

#[test]
fn an_embedder_without_a_book_has_no_compact_codes() {
    let sandbox = Sandbox::new();
    let asked = ["--token-vectors", "compact", "index", "notes"];
    sandbox.run(&asked).fails(1, &["no book", "4-bit"]);
    sandbox.run(&["--token-vectors", "tiny", "index", "notes"]).fails(2, &["standard, compact"]);
}
