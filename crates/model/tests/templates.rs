//! Chat templates against Python's Jinja as the transformers library sets it up, and hostile ones against the limits.

use std::path::PathBuf;

use ingle_model::Error;
use ingle_model::prompt::{ChatTemplate, Now, RENDER_STACK_BYTES, RenderInput};
use serde_json::{Value, json};

/// The folder of reference outputs (`INGLE_GOLDEN`, or ../shared/golden), when it is there.
fn golden(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INGLE_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if !path.is_dir() {
        eprintln!("skipped: no reference outputs at {}", path.display());
        return None;
    }
    Some(path)
}

fn render(source: &str, case: &Value) -> Result<String, Error> {
    let mut extra = case.as_object().cloned().unwrap_or_default();
    let messages = extra.remove("messages").unwrap_or(json!([]));
    let tools = extra.remove("tools");
    let prompt = extra.remove("add_generation_prompt").is_none_or(|v| v == true);
    ChatTemplate::parse(source)?.render(&RenderInput {
        messages: &messages,
        tools: tools.as_ref(),
        add_generation_prompt: prompt,
        bos_token: "<s>",
        eos_token: "</s>",
        now: Now::parse_iso("2026-01-02T03:04:05").unwrap(),
        extra,
    })
}

#[test]
fn prompts_equal_the_reference() {
    let Some(folder) = golden("templates") else { return };
    let reference: Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let mut n = 0;
    for (name, cases) in reference["expected"].as_object().unwrap() {
        let source = std::fs::read_to_string(folder.join(name)).unwrap();
        for (case, expected) in cases.as_object().unwrap() {
            n += 1;
            let found = render(&source, &reference["cases"][case]);
            let right = match (&found, expected["ok"].as_str(), expected["error"].as_str()) {
                (Ok(found), Some(expected), _) => found == expected,
                (Err(Error::Template(found)), _, Some(expected)) => expected.ends_with(found.as_str()),
                _ => false,
            };
            if !right {
                wrong.push(format!("{name} {case}\n  found    {found:?}\n  expected {expected}"));
            }
        }
    }
    assert!(n >= 144, "{n} cases");
    assert!(wrong.is_empty(), "{} of {n} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a template makes of one short user message.
fn short(source: &str) -> Result<String, Error> {
    render(source, &json!({ "messages": [{ "role": "user", "content": "Hi <b>é" }], "x": 1 }))
}

#[test]
fn writes_what_python_writes() {
    for (source, expected) in [
        ("{{ true }} {{ none }} {{ [1, 2.0, 'a'] }} {{ 1e16 }}", "True None [1, 2.0, 'a'] 1e+16"),
        ("{{ messages | tojson }}", "[{\"role\": \"user\", \"content\": \"Hi <b>é\"}]"),
        (
            "{{ {'b': 1, 'a': [1.0]} | tojson(sort_keys=true, indent=1) }}",
            "{\n \"a\": [\n  1.0\n ],\n \"b\": 1\n}",
        ),
        (
            "{{ ['é', '🙂'] | tojson(ensure_ascii=true, separators=(',', ':')) }}",
            "[\"\\u00e9\",\"\\ud83d\\ude42\"]",
        ),
        ("{{ [] | tojson(indent=2) }}{{ {} | tojson }}", "[]{}"),
        ("a{% generation %}b{% endgeneration %}c", "abc"),
        ("a  {%- generation -%}  b{% endgeneration %}", "ab"),
        ("{% raw %}{{ a ~ b }}{% endraw %}{# {{ #}", "{{ a ~ b }}"),
        ("{{ 'a' ~ 1 + 2 ~ x ~ 'c}}' }}", "a121c}}"),
        ("{% set s = 'x' %}{{ s ~ (s + s) ~ s.upper() + '{{' }}", "xxxX{{"),
        ("{{ 'a-b-c'.rsplit('-', 1) | join('|') }}{{ 'ab'.removeprefix('a') }}", "a-b|cb"),
        ("{{ strftime_now('%d %b %Y %A %j %I%p') }}", "02 Jan 2026 Friday 002 03AM"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}\n", "01"),
        ("{{ tools is defined }}{{ bos_token }}", "False<s>"),
        ("{{ 'a' ~ true ~ [1, none] ~ (1, 'b') ~ {'c': 1.0} }}", "aTrue[1, None](1, 'b'){'c': 1.0}"),
        ("{{ '-' * 3 ~ 2 * 3 * -x }}{{ 'ab'[0] * (x + 1) }}{{ 2 ** 3 }}{{ [x] * 2 }}", "----6aa8[1, 1]"),
        (
            "{% set ns = namespace(a=[1]) %}{%- set ns.a = ns.a + [2], 3 -%} {{ ns.a }}{{ ns.a[0] | length }}",
            "([1, 2], 3)2",
        ),
        (
            "{% for (k, v) in [('a', 1), ('b', (2))] if (v) in (1, 2) %}{{ k }}={{ v }} {% endfor %}",
            "a=1 b=2 ",
        ),
        (
            "{% set (a, b) = (1, [2]) %}{% set c %}{{ a ~ b }}{% endset %}{{ c ~ '!' if (c) is not in [1] else (2) }}",
            "1[2]!",
        ),
        (
            "{% macro m(a, b=[1]) %}{{ caller(a) ~ b }}{% endmacro %}{% call(x) m('y', b=(2, 3)) %}{{ x * 2 }}{% endcall %}",
            "yy(2, 3)",
        ),
        (
            "{% filter upper %}a{% endfilter %}{% with a = [1], b = {'c': (2)} %}{{ a + [b.c] }}{% endwith %}",
            "A[1, 2]",
        ),
        (
            "{{ 'a' + 'b' if not (x is divisibleby(2)) and (x) is eq(1) else '' }}{{ dict(a=1, **{'b': 2}) | length }}",
            "ab2",
        ),
        ("{{ messages[0]['missing'] }}{{ x if x is defined and x is not string else x + '' }}", "1"),
    ] {
        assert_eq!(short(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn variables_given_do_not_displace_the_conversation() {
    let case = json!({ "messages": [{ "role": "user", "content": "Hi" }], "bos_token": "evil", "enable_thinking": false });
    assert_eq!(render("{{ bos_token }}{{ enable_thinking }}", &case).as_deref(), Ok("<s>False"));
}

#[test]
fn a_refusal_is_in_the_templates_own_words() {
    for source in [
        "{{ raise_exception('No system role.') }}",
        "{% macro m() %}{{ raise_exception('No ' ~ 'system role.') }}{% endmacro %}{% set x = m() %}",
    ] {
        assert_eq!(short(source), Err(Error::Template("No system role.".into())));
    }
    let said = short(r"{{ raise_exception('a\n\u001b[2J') }}");
    assert_eq!(said, Err(Error::Template(r"a\n\u{1b}[2J".into())), "one sentence, whatever the words");
}

#[test]
fn hostile_templates_end_in_one_sentence() {
    let thread = std::thread::Builder::new().stack_size(RENDER_STACK_BYTES);
    thread.spawn(render_hostile_templates).unwrap().join().unwrap();
}

fn render_hostile_templates() {
    let doubling = |step: &str| {
        format!(
            "{{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}}{{% for i in range(64) %}}{step}{{% endfor %}}"
        )
    };
    let cases = [
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}".to_owned(), "for too long"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}".to_owned(), "for too long"),
        (doubling("{% set ns.x = ns.x ~ ns.x %}"), "more than 64 MB"),
        (doubling("{% set ns.x = ns.x + ns.x %}"), "more than 64 MB"),
        (doubling("{% set ns.x = [ns.x, ns.x] | join %}"), "more than 64 MB"),
        (doubling("{% set ns.x = ns.x.replace('a', 'aa') %}"), "more than 64 MB"),
        (doubling("{% set ns.x = ns.x | replace('a', 'aa') %}"), "more than 64 MB"),
        (doubling("{% set ns.x = ','.join([ns.x, ns.x]) %}"), "too long"),
        (doubling("{% set ns.x = '{}{}'.format(ns.x, ns.x) %}"), "more than 64 MB"),
        (doubling("{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}"), "more than 64 MB"),
        (doubling("{% set ns.x = [ns.x, ns.x] | tojson %}"), "more than 64 MB"),
        (doubling("{% set ns.x = [ns.x, ns.x] | string %}"), "too long"),
        (doubling("{% for j in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}"), "too deep"),
        (doubling("{% for j in range(9999) %}{% set ns.x = {1: [[[ns.x]]]} | items %}{% endfor %}"), "too deep"),
        (doubling("{% set ns.x = [[[[ns.x]]]] %}") + "{{ ns.x }}", "too deep"),
        // Lists of lists are no larger than what they share, until they are printed, compared or joined.
        (doubling("{% set ns.x = [ns.x, ns.x] %}") + "{{ 'a' ~ ns.x }}", "too long"),
        (doubling("{% set ns.x = (ns.x, ns.x) %}") + "{{ ns.x | upper }}", "too long"),
        (doubling("{% set ns.x = ns.x, ns.x %}") + "{{ ns.x in 'a' }}", "too long"),
        (doubling("{% set ns.x = {1: ns.x, 2: ns.x} %}") + "{{ ns.x == {} }}", "too long"),
        (doubling("{% set ns.x = dict(a=ns.x, b=ns.x) %}") + "{{ raise_exception(ns.x) }}", "too long"),
        (doubling("{% set ns.x = [[ns.x], [ns.x]] | items %}") + "{{ ns.x | lower }}", ""),
        ("{% set x = [1] %}".to_owned() + &"{% set x = [x, x] %}".repeat(40) + "{{ 'a' ~ x }}", "too long"),
        ("{% macro m(x, n) %}{{ m([x, x], n - 1) if n else 'a' ~ x }}{% endmacro %}{{ m('aaaa', 40) }}".to_owned(), ""),
        // A namespace prints what it keeps, with escapes that double at every turn; one that keeps itself, for ever.
        (doubling("{% set ns.x = 'a' ~ ns %}"), "too long"),
        (doubling("{% set ns.x = ns %}") + "{{ 'a' ~ ns }}", "a namespace can't be kept"),
        (doubling("{%- set ns.x = {'a': [ns]} -%}") + "{{ ns == ns.x }}", "a namespace can't be kept"),
        ("{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a ~ b }}".to_owned(), "a namespace can't be kept"),
        // What is repeated is as long as it will be.
        ("{% set ns = namespace(x='') %}{% for i in range(99) %}{% set ns.x = [ns.x, 'a' * 99999999] %}{% endfor %}".to_owned(), "more than 64 MB"),
        ("{{ 'a' * 9999 * 9999 }}".to_owned(), "more than 64 MB"),
        ("{{ 9999 * 9999 * 'a' }}".to_owned(), "more than 64 MB"),
        ("{{ 'a' * 10 ** 9 }}".to_owned(), "powers as factors"),
        ("{{ 'a' * (10 ** 7 * 7) }}".to_owned(), "more than 64 MB"),
        ("{{ 'a' * (70 * (10 ** 6)) }}".to_owned(), "more than 64 MB"),
        ("{{ ([1, 2] * 9999999) | list | length }}".to_owned(), "more than 64 MB"),
        ("{{ '{:>9999999999}'.format('a') }}".to_owned(), "more than 64 MB"),
        ("{% macro m(x, n) %}{{ m(x ~ x, n - 1) if n else x }}{% endmacro %}{{ m('aaaa', 60) }}".to_owned(), ""),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(), ""),
        ("{% set l = namespace(x=[1]) %}{% for i in range(50) %}{% set l.x = l.x + l.x %}{% endfor %}{{ l.x | list | length }}".to_owned(), ""),
        ("{{ 'a' * 99999999999 }}".to_owned(), ""),
        ("{{ undefined.missing }}".to_owned(), ""),
        ("{{ messages | nothing_like_it }}".to_owned(), ""),
        ("{% if %}".to_owned(), ""),
        ("{% for".to_owned(), ""),
        ("{{ 'unfinished".to_owned(), ""),
        (format!("{}1{}", "{{ (".to_owned() + &"(".repeat(5000), ")".repeat(5001) + " }}"), ""),
    ];
    for (source, says) in cases {
        let start = std::time::Instant::now();
        let shown = &source[..source.len().min(140)];
        match short(&source) {
            Err(Error::Template(message)) => {
                assert!(message.contains(says) && !message.contains('\n'), "{shown}: {message}");
            }
            other => panic!("{shown}: {:?}", other.map(|text| text.len())),
        }
        let took = start.elapsed();
        assert!(took.as_secs() < 10, "{shown}: {took:?}");
        eprintln!("{took:?} {shown}");
    }
}
