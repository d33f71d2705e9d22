//! Chat templates that never end, take all memory or recurse for ever. The process that renders them
//! ends, and the tool says whose template it was.

use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{ENGLISH, Sandbox};

/// The process may compute for two seconds; other tests run beside this one.
const MAX_TIME: Duration = Duration::from_mins(1);

const THREADS: usize = 4;

const FINE: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";

/// Each is an error, a prompt without the messages, or the end of its process.
const HOSTILE: &[&str] = &[
    "",
    "{% for m in messages %}",
    "{{ messages[",
    "{{ nonsense() }}",
    "{% include 'x' %}",
    "{% extends 'x' %}",
    "{{ raise_exception('no system role') }}",
    "{{ messages[0].content }}{{ messages[0].content }}{{ messages[1].content }}",
    // Endless, or nearly.
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{{ loop([[1]]) }}{% endfor %}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{{ f() }}{% endcall %}",
    "{{ range(10**9)|list|length }}",
    "{{ range(10**18)|sum }}",
    // Large.
    "{{ 'x' * 10**9 }}",
    "{{ ('x' * 10**5) * 10**5 }}",
    "{{ 'x'|center(10**9) }}",
    "{{ 'x'.center(10**9) }}",
    "{{ 'x'.ljust(10**9) }}",
    "{{ 'x'.rjust(10**9) }}",
    "{{ 'x'.zfill(10**9) }}",
    "{{ 'x'|indent(10**9) }}",
    "{{ ('x\n' * 10**4)|indent(10**5) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%.1000000000f'|format(1.0) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ [1] * 10**9 }}",
    "{{ ([1] * 10**5) * 10**4 }}",
    "{{ (1,) * 10**9 }}",
    "{{ range(10**5)|join('x' * 10**5) }}",
    "{{ ('ab' * 10**4)|replace('a', 'x' * 10**5) }}",
    "{{ ('ab' * 10**4).replace('a', 'x' * 10**5) }}",
    "{{ ('x' * 10**5).replace('', 'x' * 10**5) }}",
    "{{ ('x' * 10**4).join(range(10**5)|map('string')) }}",
    "{{ range(10**5)|batch(1, 'x' * 10**6)|list }}",
    "{{ range(2)|batch(10**9, 'x')|list }}",
    "{{ range(2)|slice(10**9)|list }}",
    "{{ 10**(10**9) }}",
    "{{ range(10**5)|list|tojson(10**6) }}",
    "{{ [[[[1]]]]|tojson(indent=10**8) }}",
    "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == ns.x }}{{ ns.x|tojson }}",
    "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}",
    "{% set ns = namespace(x=[]) %}{% for i in range(9000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[]) %}{% for i in range(9000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}",
    "{% set ns = namespace(x={}) %}{% for i in range(9000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}{{ ns.x|tojson }}{{ ns.x == ns.x }}",
    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns|tojson }}",
    // What fuel alone does not pay for: lists of the same list, and lists that grow by copies.
    "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
    "{% set ns = namespace(x=('x',)) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
    "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x[0:] %}{% endfor %}{{ ns.x|length }}",
    "{% set ns = namespace(x=['x']|map('upper')) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|list|length }}",
    "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x ~ '' }}",
    "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|string }}",
    "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|join }}",
    "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ''.join(ns.x) }}",
    "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
    "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% set ns.y = {'a': ns.y, 'b': ns.y} %}{% endfor %}{{ ns.x == ns.y }}",
    "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ [ns.x, ns.y]|unique|list|length }}",
    "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ [ns.x, ns.y]|sort|length }}",
    "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ {ns.x: 1, ns.y: 2}|length }}",
    "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x is eq(ns.y) }}{{ ns.x in [ns.y] }}",
    "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{% for z in [ns.x, ns.y] %}{{ loop.changed(z) }}{% endfor %}",
    "{% macro f(x, n) %}{{ f([x, x], n - 1) if n else x ~ '' }}{% endmacro %}{{ f([1], 60) }}",
    "{% macro f(x, n) %}{{ f(x + x, n - 1) if n else x|length }}{% endmacro %}{{ f([1], 60) }}",
    "{% for x in [[1]] recursive %}{{ loop([[x, x]]) }}{% endfor %}",
    "{% for x in [messages] recursive %}{{ loop([x + x]) }}{% endfor %}",
    "{% set ns = namespace(s='x' * 10**6) %}{% set ns.x = [ns.s, ns.s, ns.s, ns.s] %}{% for i in range(9999) %}{{ ns.x == [ns.s ~ '', ns.s ~ '', ns.s ~ '', ns.s ~ ''] }}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = ns.x[0:] %}{% endfor %}",
    "{% set ns = namespace(x=range(100)) %}{% for i in range(99999) %}{% set ns.x = ns.x|map('string') %}{% endfor %}",
    "{{ messages * 10**8 == messages * 10**8 }}",
    "{{ [[1] * 10**8] * 10**8 == [[1] * 10**8] * 10**8 }}",
    "{{ 10**8 * [10**8 * [1]] == 10**8 * [10**8 * [1]] }}",
    "{{ 10**8 * (10**8 * (1,),) == 10**8 * (10**8 * (1,),) }}",
    "{{ 10**8 * ([1]) == 10**8 * ([1]) }}",
    // Namespaces that hold themselves.
    "{% set a = namespace() %}{% set a.x = a %}{% set b = namespace() %}{% set b.x = b %}{{ a == b }}",
    "{% set a = namespace() %}{% set b = namespace(x=a) %}{% set a.x = b %}{{ a == b }}{{ a ~ '' }}",
    "{% set a = namespace() %}{% set a.x = [a] %}{{ a.x ~ '' }}",
    "{% set a = namespace() %}{% set a.x = a.values() %}{{ a.x ~ '' }}",
    "{% set a = namespace() %}{% set a.x = a|items %}{{ a.x ~ '' }}",
    "{% set a = namespace() %}{% set a.x = a|list %}{% set a.x = a|dictsort %}{{ dict(a) ~ '' }}{{ dict(x=a) ~ '' }}",
    "{% set a = namespace() %}{% set b = namespace() %}{% macro f() %}{% set a.x = a %}{% set b.x = b %}{% endmacro %}{{ {a: 1, b: f()} }}",
    "{% set a = namespace() %}{% set b = namespace() %}{% for x in [1] %}{% set a.x = loop %}{{ a ~ '' }}{{ loop.changed(loop) }}{% endfor %}{{ nonsense() }}",
    "{% for x in [1] %}{{ loop.cycle() }}{% endfor %}",
    "{% for x in [1] %}{{ loop.cycle(*[]) }}{% endfor %}",
    "{% for x in [1] %}{{ [loop, loop] ~ '' }}{% endfor %}",
    "{% set x = [1]|chain([2])|zip([3]) %}",
];

/// Deep nesting and long chains, which parsers and compilers follow by recursion.
fn deep() -> Vec<String> {
    let around = |open: &str, close: &str, times| {
        format!("{{{{ {}1{} }}}}", open.repeat(times), close.repeat(times))
    };
    vec![
        around("(", ")", 30_000),
        around("[", "]", 30_000),
        "{% if 1 %}".repeat(3_000) + &"{% endif %}".repeat(3_000),
        around("-", "", 65_000),
        around("not ", "", 16_000),
        around("", "~1", 32_000),
        around("", "|trim", 13_000),
        around("", ".x", 32_000),
        around("", "**2", 21_000),
        around("1 if 1 else ", "", 5_000),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(5_000)),
    ]
}

/// What the process that renders `source` writes, if it does not die.
fn rendered(sandbox: &Sandbox, source: &str) -> Option<Value> {
    let request = json!({ "source": source, "bos": "<s>", "eos": "</s>" });
    let start = Instant::now();
    let mut process = sandbox
        .command(&["__worker", "chat-template"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The process reads all of it before it writes.
    process.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let written = process.wait_with_output().unwrap().stdout;
    assert!(start.elapsed() < MAX_TIME, "{source:.200}: {:?}", start.elapsed());
    assert!(written.len() < 1 << 20, "{source:.200}: {} bytes", written.len());
    serde_json::from_slice(&written).ok()
}

#[test]
fn hostile_templates_end() {
    let sandbox = Sandbox::new();
    let fine = rendered(&sandbox, FINE).unwrap()["Rendered"].as_str().unwrap().to_owned();
    assert!(fine.contains("system") && fine.contains("user"), "{fine}");
    let deep = deep();
    let all: Vec<&str> = HOSTILE.iter().copied().chain(deep.iter().map(String::as_str)).collect();
    let is_refused = |source: &str| {
        let Some(reply) = rendered(&sandbox, source) else { return };
        if let Some(text) = reply["Rendered"].as_str() {
            let messages = text.matches('\u{e000}').count();
            assert_ne!(messages, 2, "{source:.200} writes {text:.200}");
        } else {
            assert!(reply["Failed"].is_string(), "{source:.200}: {reply}");
        }
    };
    thread::scope(|scope| {
        for part in all.chunks(all.len().div_ceil(THREADS)) {
            scope.spawn(move || part.iter().copied().for_each(is_refused));
        }
    });
}

/// As a user meets it: time, memory, recursion and text without end.
#[test]
fn a_hostile_template_is_named_with_its_file_and_the_way_out() {
    let sandbox = Sandbox::new();
    let profile = ["--profile", "tiny-cross"];
    sandbox.run(&[&profile[..], &["index", "notes"]].concat()).exits(0);
    let compares = "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}\
                    {% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}";
    let grows = "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}\
                 {% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|list|length }}";
    let recurses = format!("{{{{ {}1 }}}}", "-".repeat(65_000));
    let too_much = "it takes too much memory or time";
    for (source, expected) in [
        (compares, too_much),
        (grows, too_much),
        (&recurses, "operators"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            too_much,
        ),
        (&format!("{FINE}{{{{ 'x' * 70000 }}}}"), "bytes around the messages"),
        ("{% for", "it is not valid"),
    ] {
        let file = "models/tiny-llama/tokenizer_config.json";
        let config = std::fs::read(sandbox.path(file)).unwrap();
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        config["chat_template"] = source.into();
        sandbox.write(file, config.to_string());
        sandbox
            .run(&[&profile[..], &[ENGLISH]].concat())
            .fails(1, &["tokenizer_config.json", "chat template", "another publisher"])
            .tells(&[expected]);
    }
}
