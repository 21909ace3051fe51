//! Chat templates against Python's Jinja as the transformers library sets it up, and hostile ones against the limits.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ingle_model::Error;
use ingle_model::prompt::{ChatTemplate, Now, RENDER_STACK_BYTES, RenderInput, known};
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

/// What stands in for a template in Go's language writes what the family's own template does.
#[test]
fn templates_of_families_write_what_the_familys_own_does() {
    let Some(folder) = golden("templates") else { return };
    let reference: Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    for (known, own, cases) in [
        ("ChatML", "Qwen-Qwen2.5-7B-Instruct.jinja", &["system", "multi"][..]),
        ("Gemma", "google-gemma-2-2b-it.jinja", &["user", "no_prompt", "unicode"]),
        ("Phi 3", "microsoft-Phi-3.5-mini-instruct.jinja", &["user", "system", "multi", "unicode"]),
    ] {
        let known = known::KNOWN.iter().find(|k| k.name == known).unwrap();
        for case in cases {
            let expected = reference["expected"][own][case]["ok"].as_str().unwrap();
            assert_eq!(render(known.source, &reference["cases"][case]).unwrap(), expected, "{own} {case}");
        }
    }
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

/// The limits are far from what anybody says: a million tokens in a thousand turns.
#[test]
fn long_conversations_are_rendered() {
    let Some(folder) = golden("templates") else { return };
    let content = "Why is the sky blue, and the sea? \n".repeat(120);
    let role = |i: usize| if i.is_multiple_of(2) { "user" } else { "assistant" };
    let turn = |i: usize| json!({ "role": role(i), "content": content });
    let messages: Vec<Value> = (0..1001).map(turn).collect();
    let mut n = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "jinja") {
            let source = std::fs::read_to_string(&path).unwrap();
            let start = busy();
            let rendered = render(&source, &json!({ "messages": messages }));
            eprintln!("{:?} {}", busy() - start, path.display());
            let text = rendered.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(text.len() > content.trim().len() * messages.len(), "{}", path.display());
            n += 1;
        }
    }
    assert!(n >= 18, "{n} templates");
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
        // `~` binds closer than `+` and less close than `*`, as in Python's.
        (
            "{{ 'a' ~ 'b' + 'c' }}{{ 1 ~ 2 * 3 }}{{ 'x' ~ 'y' * 2 }}{{ 'x' ~ -1 }}{{ 7 % 4 ~ 1 }}",
            "abc16xyyx-131",
        ),
        ("{{ messages[0]['missing'] }}{{ x if x is defined and x is not string else x + '' }}", "1"),
    ] {
        assert_eq!(short(source).as_deref(), Ok(expected), "{source}");
    }
}

/// Python adds no text to a number.
#[test]
fn what_tilde_made_is_a_text() {
    for source in ["{{ 'a' ~ 1 + 2 }}", "{{ 1 + 2 ~ 'a' }}", "{{ 1 + 2 ~ 3 + 4 }}", "{{ 5 - 1 ~ 2 }}"] {
        assert!(short(source).is_err(), "{source}: {:?}", short(source));
    }
}

/// Brackets, comparisons and calls mean what they meant before they were metered.
#[test]
fn metering_changes_nothing() {
    for (source, expected) in [
        (
            "{% set l = [[1, 2], [3]] %}{{ l[0][1] }}{{ l[-1] }}{{ l[x][0] }}{{ l[0][x:] }}{{ -l[0][x] }}",
            "2[3]3[2]-2",
        ),
        ("{{ 'abc'[1:] }}{{ ('a' ~ 'bc')[x] }}{{ 'a,b'.split(',')[-1] }}{{ 'abc'[::-1] }}", "bcbbcba"),
        ("{% set d = {'a': {'b': [x, 2]}} %}{{ d['a']['b'][x] }}{{ d.a['b'][0] + d.a.b[x] * 2 }}", "25"),
        (
            "{{ 'a' in 'cab' }}{{ 'a' not in ['b'] }}{{ x in {1: 2} }}{{ not x == 1 }}{{ 1 < x + 1 <= 2 }}",
            "TrueTrueTrueFalseTrue",
        ),
        ("{{ 'b' if 'a' ~ 'b' == 'ab' and 'x' * 2 != 'x' else 'c' }}{{ [1, 2] == [x, x + 1] }}", "bTrue"),
        ("{% for a in [x, 2] if a in [2] %}{{ a }}{% endfor %}{% for c in 'ab' %}{{ c }}{% endfor %}", "2ab"),
        ("{% for i in [1, 1, 2] %}{{ loop.changed(i, x) }}{% endfor %}", "TrueFalseTrue"),
        ("{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[x, 3]) }}{{ m(**{'a': 4}) }}", "1342"),
        (
            "{% set ns = namespace(l=[]) %}{% for i in range(3) %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l[1:] }}",
            "[1, 2]",
        ),
        (
            "{{ {'b': 1, 'a': 2}.items() | list }}{{ {'b': 1, 'a': 2} | dictsort }}",
            "[('b', 1), ('a', 2)][('a', 2), ('b', 1)]",
        ),
        (
            "{{ [3, 1] | sort | map('string') | join('-') }}{{ [{'a': 2}] | map(attribute='a') | first }}",
            "1-32",
        ),
        (
            "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ [1, 2] | reverse | list }}",
            "1[2, 1]",
        ),
        (
            "{{ messages[0].content[:2] }}{{ (messages | last)['role'] }}{{ messages[-1:][0].role }}",
            "Hiuseruser",
        ),
        (
            "{{ x is in [1] }}{{ 'ab' is startingwith('a') }}{{ (x, 2)[1] }}{{ 'a' is lower and 'a' is eq('a') }}",
            "TrueTrue2True",
        ),
        (
            "{% set l = [[1, 2], [3]] %}{{ 2 is eq l[0][x] }}{{ x is not in l[x:][0] }}{{ l[x] is sameas l[-1] and x }}",
            "TrueTrue1",
        ),
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
        ("{{ .[x] }}".to_owned(), ""),
        ("{{ ([.[x]) }}".to_owned(), ""),
        ("{{ x is eq .[x] }}".to_owned(), ""),
        (format!("{}1{}", "{{ (".to_owned() + &"(".repeat(5000), ")".repeat(5001) + " }}"), ""),
    ];
    for (source, says) in cases {
        refused_soon(&source, says);
    }
}

/// What this thread has computed so far: other programs on the machine should not make a test fail. Where the system does
/// not say, the time that has passed.
fn busy() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let on_cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = on_cpu.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.get_or_init(Instant::now).elapsed(), Duration::from_nanos)
}

/// That a template is refused with one sentence that has `says` in it, or one of what bars part there, soon.
fn refused_soon(source: &str, says: &str) {
    let start = busy();
    let shown = &source[..source.len().min(140)];
    match short(source) {
        Err(Error::Template(message)) => {
            let is_said = says.split('|').any(|says| message.contains(says));
            assert!(is_said && !message.contains('\n'), "{shown}: {message}");
        }
        other => panic!("{shown}: {:?}", other.map(|text| text.len())),
    }
    let took = busy() - start;
    eprintln!("{took:?} {}", &source[source.len() - source.len().min(100)..]);
    // A second or two where the engine is not optimised and the machine does nothing else.
    assert!(took.as_secs() < 10, "{shown}: {took:?}");
}

/// Each within the instructions and bytes of one rendering; every instruction in the loop takes milliseconds.
#[test]
fn templates_that_would_take_minutes_are_refused_soon() {
    let long = "{% set t = 'a' * 12000000 %}{% set u = 'a' * 12000000 %}{% set v = 'a ' * 100000 %}\
        {% set l = ([1, 'b', 'c'] * 50000)[0:] %}{% set m = l[0:] %}\
        {% macro m(a) %}{{ a }}{% endmacro %}{% set d = {'a': l} %}{% set ns = namespace(x=l) %}";
    short(long).expect("what is made before the loops is within the budget");
    let loops = |step: &str| {
        format!(
            "{long}{{% for i in range(9999) %}}{{% for j in range(9999) %}}{step}{{% endfor %}}{{% endfor %}}"
        )
    };
    let steps = [
        "{% if t == u %}{% endif %}",
        "{% if 1 < 2 and t != u ~ '' %}{% endif %}",
        "{% if not t >= u %}{% endif %}",
        "{% if l == m %}{% endif %}",
        "{% if l < m %}{% endif %}",
        "{% if d == {'a': m} %}{% endif %}",
        "{% if 'ab' in t %}{% endif %}",
        "{% if 'ab' not in l %}{% endif %}",
        "{% if t in [u, u] %}{% endif %}",
        "{% if t in {t: 1} %}{% endif %}",
        "{% set x = t[1:] %}",
        "{% set x = t[-1] %}",
        "{% set x = (t)[11999999] %}",
        "{% set x = d.a[::2][i] %}",
        "{% set x = d[t] %}",
        "{% set x = l[1:][2:][3:] %}",
        "{% set x = (l + l)[i] %}",
        "{% set ns.x = ns.x[1:] %}",
        "{% set ns.x = ns.x | reverse %}{% set x = ns.x | last %}",
        "{% set x = t.upper() %}",
        "{% set x = t.strip(u) %}",
        "{% set x = t.find('b') %}",
        "{% set x = t.count('b') %}",
        "{% set x = t.endswith(u) %}",
        "{% set x = t.isalpha() %}",
        "{% set x = d.get(t) %}",
        "{% set x = l.count(1) %}",
        "{% set x = v.split()[0] %}",
        "{% set x = t | lower %}",
        "{% set x = t | length %}",
        "{% set x = t | trim('b') %}",
        "{% set x = t | trim(u) %}",
        "{% set x = t | int(0) %}",
        "{% set x = l | sort %}",
        "{% set x = l | unique %}",
        "{% set x = l | max %}",
        "{% set x = l | map('upper') %}",
        "{% set x = l | select('in', l) %}",
        "{% set x = l | reject('equalto', t) %}",
        "{% set x = l | sum(start='') %}",
        "{% set x = d | dictsort %}",
        "{% set x = l | groupby('a', default=1) %}",
        "{% set x = l | tojson %}",
        "{% set x = l | join %}",
        "{% set x = 1.5 | round(1074) %}{% set x = 2.5 | round(1074) %}",
        "{% if t is eq u %}{% endif %}",
        "{% if t is in(l) %}{% endif %}",
        "{% if t is lower %}{% endif %}",
        "{% if t is iterable %}{% endif %}",
        "{% if loop.changed(t) %}{% endif %}",
        "{% set x = dict(d, b=1) %}{% set x = dict(**d) == x %}",
        "{% for c in t %}{% break %}{% endfor %}",
        "{{ range(*l) if false else namespace(**d).a | length }}{% set x = [l] %}",
        "{% set x = (l * 2)[0] %}",
        // Many calls, none of them long.
        "{{ m(i) }}{{ m(j) }}",
        "{% set x = dict(a=i, b=j) %}{% set y = namespace(a=x) %}",
        "{% set x = strftime_now('%F %T') %}",
        "{% set x = [i, j] | sort | map('string') | join(',') %}",
        "{% set x = '{} {}'.format(i, j).split()[0].upper() %}",
        "{% set x = (i ~ j) | int % 7 %}{% set x = [i, {'a': j}] | tojson | length %}",
        "{% set x %}{{ i }}{{ j }}{% endset %}{% if x is string and x in '12' %}{% endif %}",
    ];
    let long_text = "x".repeat(100_000);
    let others = [
        loops(&format!("{{% if '{long_text}' == '{long_text}' %}}{{% endif %}}")),
        loops(&format!("{{% set x = '{long_text}' ~ '{long_text}' %}}")),
        format!(
            "{{% for {long_text} in range(99999) %}}{{% set y = {long_text} + {long_text} %}}{{% endfor %}}"
        ),
        long.to_owned()
            + &"{% set l = l * 1 %}{% set x = l[0] %}".repeat(20_000)
            + &loops("{% if t == u %}{% endif %}"),
    ];
    let sources: Vec<String> = steps.iter().map(|step| loops(step)).chain(others).collect();
    let thread = std::thread::Builder::new().stack_size(RENDER_STACK_BYTES);
    thread
        .spawn(move || sources.iter().for_each(|source| refused_soon(source, "too long|more than 64 MB")))
        .unwrap()
        .join()
        .unwrap();
}
