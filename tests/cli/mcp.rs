//! `rag-query mcp`: agents, over standard input and output and over HTTP. `ci/clients-check` does the same
//! with the official client.

use serde_json::{Value, json};

use super::harness::{ENGLISH, Sandbox};
use super::serving::Server;

/// A client of 2025 introduces itself.
fn hello() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}}})
}

/// Calls of tools, numbered from 1.
fn conversation(calls: &[(&str, Value)]) -> String {
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let mut lines = vec![hello(), initialized];
    for (id, (name, arguments)) in (1..).zip(calls) {
        let params = json!({"name": name, "arguments": arguments});
        lines.push(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
    }
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n"
}

/// The results of the calls, in their order; standard output has nothing but the protocol.
fn results(sandbox: &Sandbox, calls: &[(&str, Value)]) -> Vec<Value> {
    let outcome = sandbox.run_with_stdin(&["mcp"], conversation(calls)).exits(0);
    let mut answers = outcome.json_lines();
    assert!(answers.iter().all(|answer| answer["jsonrpc"] == "2.0"), "{outcome:#?}");
    answers.sort_by_key(|answer| answer["id"].as_u64());
    assert_eq!(answers.len(), calls.len() + 1, "{outcome:#?}");
    answers.drain(1..).map(|answer| answer["result"].clone()).collect()
}

#[test]
fn an_agent_searches_reads_and_asks() {
    let sandbox = Sandbox::indexed();
    let found = &results(&sandbox, &[("search", json!({"query": "coffee", "top_k": 3}))])[0];
    let passages = found["structuredContent"]["passages"].as_array().unwrap();
    let coffee =
        passages.iter().find(|one| one["document_id"].as_str().unwrap().ends_with("coffee.txt"));
    let coffee = coffee.unwrap_or_else(|| panic!("{found}"));
    assert_eq!(coffee["at"], json!({"unit": "line", "first": 1, "last": 2}), "{coffee}");

    let id = &coffee["document_id"];
    let calls = [
        ("get", json!({"document_id": id})),
        ("multi_get", json!({"documents": ["*.md"], "max_chars": 100_000})),
        ("ask", json!({"question": ENGLISH})),
        ("status", json!({})),
    ];
    let results = results(&sandbox, &calls);
    let of = |i: usize| &results[i]["structuredContent"];
    assert_eq!(of(0)["passages"][0]["text"], coffee["text"], "{}", results[0]);
    assert_eq!(of(1)["documents"].as_array().unwrap().len(), 2, "{}", results[1]);
    assert_eq!(of(2)["answered"], true, "{}", results[2]);
    assert!(!of(2)["sources"].as_array().unwrap().is_empty(), "{}", results[2]);
    assert_eq!(of(3)["documents"], 5, "{}", results[3]);
}

#[test]
fn what_an_agent_may_not_is_told_to_it() {
    let sandbox = Sandbox::indexed();
    let calls = [
        ("get", json!({"document_id": "/etc/passwd"})),
        ("search", json!({"query": " "})),
        ("search", json!({"query": "x", "since": "soon"})),
        ("search", json!({"query": "x", "in": ["no-such"]})),
    ];
    for (result, said) in results(&sandbox, &calls).iter().zip([
        "no document",
        "empty",
        "expected a date",
        "no document",
    ]) {
        assert_eq!(result["isError"], true, "{result}");
        assert!(result["content"][0]["text"].as_str().unwrap().contains(said), "{result}");
    }
}

#[test]
fn without_an_index_an_agent_is_told_so_and_how_to_make_one() {
    let sandbox = Sandbox::new();
    let result = &results(&sandbox, &[("search", json!({"query": "x"}))])[0];
    assert_eq!(result["isError"], true, "{result}");
    assert!(result["content"][0]["text"].as_str().unwrap().contains("rag-query index"), "{result}");
}

#[test]
fn nothing_is_loaded_for_an_agent_that_only_looks() {
    let sandbox = Sandbox::indexed();
    for model in ["tiny-llama", "tiny-xlm-roberta", "tiny-xlm-roberta-classifier"] {
        sandbox.remove(&format!("models/{model}"));
    }
    let input =
        format!("{}\n{}\n", hello(), json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    let outcome = sandbox.run_with_stdin(&["mcp"], input).exits(0);
    let tools = &outcome.json_lines()[1]["result"]["tools"];
    assert_eq!(tools.as_array().map(Vec::len), Some(5), "{outcome:#?}");
    sandbox.run_with_stdin(&["mcp"], "").exits(0);
}

#[test]
fn a_server_has_the_same_tools() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &[]);
    // Of revision 2026-07-28: no session, everything in one request.
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "search", "arguments": {"query": "coffee"},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {}}}});
    let headers = [
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/call",
        "Mcp-Name: search",
    ];
    let (status, body) = server.request("/mcp", Some(&call), &headers);
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert!(answer["result"]["structuredContent"]["passages"].is_array(), "{answer}");
    let other = [&headers[..], &["Origin: https://evil.example"]].concat();
    assert_eq!(server.request("/mcp", Some(&call), &other).0, 403);
}
