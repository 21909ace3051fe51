//! minijinja's own filters, tests and functions that a template may use, each with what a call of it costs.
//!
//! Only what stands here is there: what Python's Jinja has too and no rendering can be made to take long by. `meter` says
//! what a cost is. Left out are filters whose results can be far longer than what goes in (`indent`, `format`, `pprint`,
//! `batch`, `slice`, `urlencode`), which no published template uses, `debug`, and the few that only minijinja knows
//! (`split`, `lines`, `zip`, `chain`, `bool`). `prompt` writes those that print or join values itself, as Python does.

use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters, functions, tests};

use super::meter::Meter;

/// What a call pays before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// As good as nothing: it asks what kind of value it is, or takes an item.
    Nothing,
    /// It goes through the characters of the first argument.
    Look,
    /// It may look at every byte of every argument.
    Whole,
    /// The same, and letter by letter.
    Letters,
    /// Every byte, as often as the second argument, a text, has characters.
    WholeTimesSecond,
    /// For each item of the first argument it goes through the others; what it calls pays for itself.
    Each,
    /// It sorts or searches the first argument, and for each item of it goes through the others.
    Sort,
    /// It joins the items one by one, whatever they are.
    Sum,
    /// So many steps.
    Steps(usize),
}
use Cost::{Each, Letters, Look, Nothing, Sort, Steps, Sum, Whole, WholeTimesSecond};

/// Letters become others, by tables.
const LETTER_STEPS: usize = 8;
/// Two texts are compared in small letters.
const COMPARED_STEPS: usize = 64;
/// A float is written with up to 1074 digits and read again.
const ROUND_STEPS: usize = 4096;

fn filters() -> [(&'static str, Cost, Value); 31] {
    let length = Value::from_function(filters::length);
    let default = Value::from_function(filters::default);
    [
        ("abs", Nothing, Value::from_function(filters::abs)),
        ("attr", Whole, Value::from_function(filters::attr)),
        ("capitalize", Letters, Value::from_function(filters::capitalize)),
        ("count", Look, length.clone()),
        ("d", Nothing, default.clone()),
        ("default", Nothing, default),
        ("dictsort", Sort, Value::from_function(filters::dictsort)),
        ("first", Nothing, Value::from_function(filters::first)),
        ("float", Whole, Value::from_function(filters::float)),
        ("groupby", Sort, Value::from_function(filters::groupby)),
        ("int", Whole, Value::from_function(filters::int)),
        ("items", Nothing, Value::from_function(filters::items)),
        ("last", Look, Value::from_function(filters::last)),
        ("length", Look, length),
        ("lower", Letters, Value::from_function(filters::lower)),
        ("map", Each, Value::from_function(filters::map)),
        ("max", Sort, Value::from_function(filters::max)),
        ("min", Sort, Value::from_function(filters::min)),
        ("reject", Each, Value::from_function(filters::reject)),
        ("rejectattr", Each, Value::from_function(filters::rejectattr)),
        ("reverse", Look, Value::from_function(filters::reverse)),
        ("round", Steps(ROUND_STEPS), Value::from_function(filters::round)),
        ("safe", Whole, Value::from_function(filters::safe)),
        ("select", Each, Value::from_function(filters::select)),
        ("selectattr", Each, Value::from_function(filters::selectattr)),
        ("sort", Sort, Value::from_function(filters::sort)),
        ("sum", Sum, Value::from_function(filters::sum)),
        ("title", Letters, Value::from_function(filters::title)),
        ("trim", WholeTimesSecond, Value::from_function(filters::trim)),
        ("unique", Sort, Value::from_function(filters::unique)),
        ("upper", Letters, Value::from_function(filters::upper)),
    ]
}

fn tests() -> [(&'static str, Cost, Value); 42] {
    let (eq, ne) = (Value::from_function(tests::is_eq), Value::from_function(tests::is_ne));
    let (lt, le) = (Value::from_function(tests::is_lt), Value::from_function(tests::is_le));
    let (gt, ge) = (Value::from_function(tests::is_gt), Value::from_function(tests::is_ge));
    [
        ("!=", Whole, ne.clone()),
        ("<", Whole, lt.clone()),
        ("<=", Whole, le.clone()),
        ("==", Whole, eq.clone()),
        (">", Whole, gt.clone()),
        (">=", Whole, ge.clone()),
        ("boolean", Nothing, Value::from_function(tests::is_boolean)),
        ("defined", Nothing, Value::from_function(tests::is_defined)),
        ("divisibleby", Nothing, Value::from_function(tests::is_divisibleby)),
        ("endingwith", Whole, Value::from_function(tests::is_endingwith)),
        ("eq", Whole, eq.clone()),
        ("equalto", Whole, eq),
        ("escaped", Nothing, Value::from_function(tests::is_safe)),
        ("even", Nothing, Value::from_function(tests::is_even)),
        ("false", Nothing, Value::from_function(tests::is_false)),
        ("filter", Nothing, Value::from_function(tests::is_filter)),
        ("float", Nothing, Value::from_function(tests::is_float)),
        ("ge", Whole, ge),
        ("greaterthan", Whole, gt.clone()),
        ("gt", Whole, gt),
        ("in", Whole, Value::from_function(tests::is_in)),
        ("int", Nothing, Value::from_function(tests::is_integer)),
        ("integer", Nothing, Value::from_function(tests::is_integer)),
        ("iterable", Look, Value::from_function(tests::is_iterable)),
        ("le", Whole, le),
        ("lessthan", Whole, lt.clone()),
        ("lower", Letters, Value::from_function(tests::is_lower)),
        ("lt", Whole, lt),
        ("mapping", Nothing, Value::from_function(tests::is_mapping)),
        ("ne", Whole, ne),
        ("none", Nothing, Value::from_function(tests::is_none)),
        ("number", Nothing, Value::from_function(tests::is_number)),
        ("odd", Nothing, Value::from_function(tests::is_odd)),
        ("safe", Nothing, Value::from_function(tests::is_safe)),
        ("sameas", Whole, Value::from_function(tests::is_sameas)),
        ("sequence", Nothing, Value::from_function(tests::is_sequence)),
        ("startingwith", Whole, Value::from_function(tests::is_startingwith)),
        ("string", Nothing, Value::from_function(tests::is_string)),
        ("test", Nothing, Value::from_function(tests::is_test)),
        ("true", Nothing, Value::from_function(tests::is_true)),
        ("undefined", Nothing, Value::from_function(tests::is_undefined)),
        ("upper", Letters, Value::from_function(tests::is_upper)),
    ]
}

fn functions() -> [(&'static str, Cost, Value); 3] {
    [
        ("dict", Whole, Value::from_function(functions::dict)),
        ("namespace", Whole, Value::from_function(functions::namespace)),
        ("range", Nothing, Value::from_function(functions::range)),
    ]
}

/// Adds what a template may use to an environment that has nothing yet.
pub fn add(env: &mut Environment<'_>, meter: &Meter) {
    for (name, cost, function) in filters() {
        let meter = meter.clone();
        env.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let args = pay(&meter, cost, args.into_values())?;
            // A list that is made as it is read would be made at each reading.
            meter.made_for_good(function.call(state, &args)?)
        });
    }
    for (name, cost, function) in tests() {
        let meter = meter.clone();
        env.add_test(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            pay(&meter, cost, args.into_values()).and_then(|args| function.call(state, &args))
        });
    }
    for (name, cost, function) in functions() {
        let meter = meter.clone();
        env.add_function(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            pay(&meter, cost, args.into_values()).and_then(|args| function.call(state, &args))
        });
    }
}

/// Pays for a call with `args`; gives them back.
fn pay(meter: &Meter, cost: Cost, args: Vec<Value>) -> Result<Vec<Value>, Error> {
    let Some(first) = args.first().cloned() else { return Ok(args) };
    let rest = || -> Result<usize, Error> {
        let mut weight = 1usize;
        for value in &args[1..] {
            weight = weight.saturating_add(meter.weigh(value)?);
        }
        Ok(weight)
    };
    let n_items = if first.as_str().is_some() { 0 } else { first.len().unwrap_or(0) };
    match cost {
        Nothing => {}
        Look => meter.look(&first)?,
        Whole => meter.work(meter.weigh(&first)?.saturating_add(rest()?))?,
        Letters => meter.work(meter.weigh(&first)?.saturating_mul(LETTER_STEPS))?,
        WholeTimesSecond => meter.work(meter.weigh(&first)?.saturating_mul(rest()?))?,
        Each => meter.work(n_items.saturating_mul(rest()?))?,
        Sort => {
            let compared = meter.weigh(&first)?.saturating_add(n_items.saturating_mul(COMPARED_STEPS));
            let compared = compared.saturating_mul(1 + n_items.max(1).ilog2() as usize);
            meter.work(compared.saturating_add(n_items.saturating_mul(rest()?)))?;
        }
        Sum => meter.work(meter.weigh(&first)?.saturating_add(rest()?).saturating_mul(1 + n_items))?,
        Steps(n) => meter.work(n)?,
    }
    Ok(args)
}
