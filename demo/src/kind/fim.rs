//! Fill in the middle: a hole in tiny code whose filling follows from what stands around it.
//!
//! The content is the whole piece of code, so a held-out piece was never trained with any hole.

use crate::check;
use crate::item::{Item, Key, Kind, Prompt};
use crate::rng::Rng;
use crate::words::fill;

pub(super) static FIM: Kind =
    Kind { name: "fim", about: "fills a hole in tiny code", share: 12, draw, judge };

/// Pieces of code; one of the spans between « and » becomes the hole. Slots: names of functions (f), of values (a, b, c),
/// of types (T), numbers (n, m) and words (w).
static PIECES: &[&str] = &[
    "def add_{a}_and_{b}({a}, {b}):\n    return «{a} + {b}»\n",
    "def add({a}, {b}):\n    «return {a} + {b}»\n\nprint(add({n}, {m}))\n",
    "def subtract({a}, {b}):\n    return «{a} - {b}»\n",
    "def multiply({a}, {b}):\n    «return {a} * {b}»\n",
    "def divide({a}, {b}):\n    if {b} == 0:\n        return None\n    return «{a} / {b}»\n",
    "def area({a}, {b}):\n    return «{a} * {b}»\n\nprint(area(«{n}, {m}»))\n",
    "def square({a}):\n    return «{a} * {a}»\n",
    "def double({a}):\n    return «{a} * 2»\n",
    "def is_even({a}):\n    return «{a} % 2 == 0»\n",
    "def is_odd({a}):\n    return «{a} % 2 == 1»\n",
    "def is_positive({a}):\n    return «{a} > 0»\n",
    "def is_zero({a}):\n    return «{a} == 0»\n",
    "def maximum({a}, {b}):\n    if {a} > {b}:\n        return «{a}»\n    return «{b}»\n",
    "def minimum({a}, {b}):\n    if {a} < {b}:\n        return «{a}»\n    return «{b}»\n",
    "def {f}({a}):\n    total = 0\n    for {b} in {a}:\n        «total += {b}»\n    return total\n",
    "def {f}({a}):\n    total = 0\n    for {b} in {a}:\n        total += {b}\n    «return total»\n",
    "def {f}({a}):\n    count = 0\n    for {b} in {a}:\n        «count += 1»\n    return count\n",
    "def {f}({a}):\n    result = []\n    for {b} in «{a}»:\n        result.append(«{b}»)\n    return result\n",
    "def {f}({a}):\n    result = []\n    for {b} in {a}:\n        «result.append({b})»\n    return result\n",
    "def greet({a}):\n    print(\"Hello, \" + «{a}»)\n\ngreet(\"{w}\")\n",
    "def last({a}):\n    return «{a}[-1]»\n",
    "def first({a}):\n    return «{a}[0]»\n",
    "def length({a}):\n    return «len({a})»\n",
    "class {T}:\n    def __init__(self, {a}, {b}):\n        self.{a} = «{a}»\n        «self.{b} = {b}»\n",
    "class {T}:\n    def __init__(self, {a}, {b}, {c}):\n        self.{a} = {a}\n        «self.{b} = {b}»\n        self.{c} = «{c}»\n",
    "class {T}:\n    def __init__(self, {a}):\n        self.{a} = {a}\n\n    def get_{a}(self):\n        return «self.{a}»\n",
    "class {T}:\n    def set_{a}(self, {a}):\n        «self.{a} = {a}»\n",
    "{a} = {n}\n{b} = {m}\nprint(«{a}», {b})\n",
    "{a} = {n}\nif {a} > {m}:\n    print(\"{w}\")\n«else»:\n    print(\"small\")\n",
    "for i in range(«{n}»):\n    print(i)\n# counts to {n}\n",
    "while {a} > 0:\n    print({a})\n    «{a} -= 1»\n",
    "import {w}\n\nresult = «{w}».{f}({a})\n",
    "{a} = [{n}, {m}]\n{b} = {a}[0]\nassert {b} == «{n}»\n",
    "{a} = {\"{w}\": {n}}\nassert {a}[\"{w}\"] == «{n}»\n",
    "fn add({a}: i32, {b}: i32) -> i32 {\n    «{a} + {b}»\n}\n",
    "fn subtract({a}: i32, {b}: i32) -> i32 {\n    «{a} - {b}»\n}\n",
    "fn multiply({a}: u64, {b}: u64) -> u64 {\n    «{a} * {b}»\n}\n",
    "fn is_even({a}: u32) -> bool {\n    «{a} % 2 == 0»\n}\n",
    "fn square({a}: f32) -> f32 {\n    «{a} * {a}»\n}\n",
    "struct {T} {\n    {a}: i32,\n    {b}: i32,\n}\n\nimpl {T} {\n    fn {a}(&self) -> i32 {\n        «self.{a}»\n    }\n}\n",
    "struct {T} {\n    {a}: String,\n}\n\nfn main() {\n    let {b} = «{T}» { {a}: \"{w}\".to_string() };\n    println!(\"{}\", {b}.«{a}»);\n}\n",
    "let {a} = {n};\nlet {b} = {m};\nprintln!(\"{} {}\", {a}, «{b}»);\n",
    "function add({a}, {b}) {\n  return «{a} + {b}»;\n}\n",
    "function subtract({a}, {b}) {\n  return «{a} - {b}»;\n}\n",
    "function multiply({a}, {b}) {\n  «return {a} * {b};»\n}\n",
    "const {a} = {n};\nconst {b} = {m};\nconsole.log(«{a}» + {b});\n// adds {a} and {b}\n",
    "function {f}({a}) {\n  console.log(«{a}»);\n}\n\n{f}(\"{w}\");\n",
    "function {f}({a}) {\n  console.log({a});\n}\n\n«{f}»(\"{w}\");\n",
];

#[rustfmt::skip]
static VALUES: &[&str] = &[
    "a",
    "b",
    "x",
    "y",
    "z",
    "n",
    "k",
    "left",
    "right",
    "first_value",
    "second_value",
    "value",
    "item",
    "items",
    "name",
    "width",
    "height",
    "depth",
    "length_cm",
    "price",
    "tax",
    "age",
    "score",
    "points",
    "speed",
    "time",
    "start",
    "end",
    "step",
    "limit",
    "size",
    "index",
    "row",
    "column",
    "weight",
    "color",
    "title",
    "author",
    "pages",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "city",
    "street",
    "user",
    "email",
    "token",
    "key",
    "data",
    "text",
    "word",
    "line",
    "words",
    "lines",
    "numbers",
    "values",
    "list_a",
    "list_b",
    "rate",
    "level",
    "power",
    "health",
    "num1",
    "num2",
    "base",
    "amount",
    "balance",
    "distance",
    "radius",
    "apples",
    "pears",
    "cost",
    "fee",
    "cats",
    "dogs",
    "red",
    "green",
    "blue",
    "node",
    "parent",
    "child",
    "path",
    "file",
];

#[rustfmt::skip]
static FUNCTIONS: &[&str] = &[
    "sum_all",
    "total_of",
    "count_items",
    "copy_list",
    "collect",
    "show",
    "print_line",
    "log_value",
    "process",
    "compute",
    "load",
    "read_all",
    "add_up",
    "count_all",
    "gather",
    "display",
    "report",
    "send",
    "handle",
    "run",
];

#[rustfmt::skip]
static TYPES: &[&str] = &[
    "Point",
    "Person",
    "Book",
    "Car",
    "Animal",
    "User",
    "Player",
    "Order",
    "Item",
    "Circle",
    "Box",
    "City",
    "House",
    "Student",
    "Account",
    "Event",
    "Message",
    "Robot",
    "Song",
    "Ticket",
];

#[rustfmt::skip]
static WORDS: &[&str] = &[
    "math",
    "apple",
    "world",
    "hello",
    "big",
    "large",
    "random",
    "json",
    "Anna",
    "Ben",
    "yes",
    "ok",
    "time",
    "red",
    "blue",
    "cat",
    "dog",
    "fox",
    "sun",
    "moon",
    "tree",
    "home",
    "test",
    "demo",
    "book",
    "high",
    "done",
    "ready",
];

fn draw(rng: &mut Rng) -> Item {
    let names = rng.several(VALUES, 3);
    let (n, m) = (rng.within(1, 99).to_string(), rng.within(1, 99).to_string());
    let slots = [
        ("a", names[0]),
        ("b", names[1]),
        ("c", names[2]),
        ("f", rng.pick(FUNCTIONS)),
        ("T", rng.pick(TYPES)),
        ("w", rng.pick(WORDS)),
        ("n", &n),
        ("m", &m),
    ];
    let mut piece = fill(rng.pick(PIECES), &slots);
    let content = format!("code {}", piece.replace(['«', '»'], ""));
    if rng.chance(30) {
        // Another whole function before it, as in a real file.
        let other = fill("def {f}({c}):\n    print({c})\n\n", &slots);
        piece = other + &piece;
    }
    let parts: Vec<&str> = piece.split(['«', '»']).collect();
    let hole = 1 + 2 * rng.below(parts.len() / 2);
    let answer = parts[hole].to_string();
    Item {
        contents: vec![content],
        prompt: Prompt::Fill { prefix: parts[..hole].concat(), suffix: parts[hole + 1..].concat() },
        reference: answer.clone(),
        key: Key::Exact(vec![answer]),
    }
}

/// The hole's text, or the same sum or product the other way round.
fn judge(item: &Item, answer: &str) -> bool {
    check::by_key(item, answer)
        || [" + ", " * "].iter().any(|sign| {
            answer
                .trim()
                .split_once(sign)
                .is_some_and(|(a, b)| !b.contains(sign) && check::by_key(item, &format!("{b}{sign}{a}")))
        })
}
