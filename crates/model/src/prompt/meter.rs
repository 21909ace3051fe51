//! What one rendering has made, in bytes, and worked through, in steps; and the filters that count it.
//!
//! minijinja's values are trees that share branches: forty lists, each of which holds the one before twice, take a few
//! kilobytes and print as a terabyte. So a list or map counts as what it would print. It is counted where brackets make it,
//! where it is joined and where a namespace keeps it, and no value may count more than [`WEIGHT_MAX`]. A namespace in a
//! namespace, which could hold itself, is refused.
//!
//! An instruction takes as long as its operands are: comparing, searching, cutting, calling. So each pays a step for a byte
//! or so of what it may have to look at, before it does, from a budget of [`STEPS_MAX`]; what is left, an instruction itself,
//! is minijinja's fuel. A step is about a nanosecond, never much more (`model/tests/templates.rs` measures the worst). A list
//! that is made as it is read is made for good before anything is taken from it, so that one never stands on a
//! thousand others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, Value};

use super::prepare::filters;
use super::{BUDGET_BYTES, TOO_LONG, fault};

/// What printing a value may take. Conversations of millions of tokens are shorter.
const WEIGHT_MAX: usize = 32 << 20;
/// What a value counts that is no text: more than most print, so that there are not too many to visit.
const VALUE_BYTES: usize = 64;
/// What a list keeps of each of its items.
const ITEM_BYTES: usize = 16;
/// What looking at one of many values takes.
const VALUE_STEPS: usize = 64;
/// What cutting a text takes, for each of its bytes.
const CHARACTER_STEPS: usize = 8;
/// What one rendering may work through: more than anything a template does to a conversation of millions of tokens.
const STEPS_MAX: u64 = 1 << 29;
/// Lists in lists; printing and dropping them recurses.
const DEPTH_MAX: usize = 100;

/// What one rendering has used up.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    spent: Arc<AtomicU64>,
    steps: Arc<AtomicU64>,
    /// Left sides of the multiplications under way.
    factors: Arc<Mutex<Vec<Factor>>>,
}

/// A side of a multiplication: a number, or the bytes of what is repeated.
#[derive(Debug, Clone, Copy)]
struct Factor {
    size: usize,
    is_number: bool,
}

impl Meter {
    /// Spends `n` bytes of the budget, and the steps it takes to write them.
    ///
    /// # Errors
    /// When there are not so many left.
    pub fn spend(&self, n: usize) -> Result<(), Error> {
        if self.spent.fetch_add(n as u64, Ordering::Relaxed).saturating_add(n as u64) > BUDGET_BYTES {
            return Err(fault(format!("it made more than {} MB", BUDGET_BYTES >> 20)));
        }
        self.work(n)
    }

    /// Takes `n` steps of the budget.
    ///
    /// # Errors
    /// When there are not so many left.
    pub fn work(&self, n: usize) -> Result<(), Error> {
        // Never wraps: a rendering ends at the first refusal, and few threads are left to add to it.
        let n = (n as u64).min(STEPS_MAX + 1);
        if self.steps.fetch_add(n, Ordering::Relaxed) + n > STEPS_MAX {
            return Err(fault(TOO_LONG));
        }
        Ok(())
    }

    /// Adds the filters that `prepare` puts into templates.
    pub fn add_filters(&self, env: &mut Environment<'_>) {
        let filters: [(&str, fn(&Self, Value) -> Result<Value, Error>); 10] = [
            (filters::JOINED, Self::joined),
            (filters::MADE, |meter, value| meter.weigh(&value).and_then(|_| meter.made_for_good(value))),
            (filters::KEPT, Self::kept),
            (filters::FACTOR, |meter, value| meter.factor(value, None, true)),
            (filters::NEXT_FACTOR, |meter, value| meter.times(value, true)),
            (filters::LAST_FACTOR, |meter, value| meter.times(value, false)),
            (filters::COMPARED, Self::compared),
            (filters::SEARCHED, Self::searched),
            (filters::ITERATED, |meter, value| meter.look(&value).map(|()| value)),
            (filters::INDEXED, Self::indexed),
        ];
        for (name, count) in filters {
            let meter = self.clone();
            env.add_filter(name, move |value: Value| count(&meter, value));
        }
        env.add_filter(filters::POWER, |_: Value| {
            Err::<Value, _>(fault("powers as factors are not supported, except in parentheses"))
        });
    }

    fn joined(&self, value: Value) -> Result<Value, Error> {
        if let Some(text) = value.as_str() {
            return self.spend(text.len()).map(|()| value);
        }
        self.weigh(&value)?;
        self.spend(value.len().unwrap_or(0).saturating_mul(ITEM_BYTES))?;
        self.made_for_good(value)
    }

    fn kept(&self, value: Value) -> Result<Value, Error> {
        self.weigh_with(&value, Namespaces::Refused).map(|_| value)
    }

    fn compared(&self, value: Value) -> Result<Value, Error> {
        self.work(self.weigh(&value)?).map(|()| value)
    }

    /// A text is searched and a list compared with item by item; in a map a key is looked up.
    fn searched(&self, value: Value) -> Result<Value, Error> {
        if value.kind() == ValueKind::Map { Ok(value) } else { self.compared(value) }
    }

    fn indexed(&self, value: Value) -> Result<Value, Error> {
        // Its characters are counted, and taken one by one.
        self.work(value.as_str().map_or(0, |text| text.len() * CHARACTER_STEPS))?;
        self.made_for_good(value)
    }

    /// Pays for going through a text; the items of a list are seen one by one.
    ///
    /// # Errors
    /// When there are not so many steps left.
    pub fn look(&self, value: &Value) -> Result<(), Error> {
        self.work(value.as_str().map_or(0, str::len))
    }

    /// `value`, but a list that is made as it is read as a list.
    ///
    /// # Errors
    /// When it is too long.
    pub fn made_for_good(&self, value: Value) -> Result<Value, Error> {
        if value.kind() != ValueKind::Iterable {
            return Ok(value);
        }
        let mut items = Vec::new();
        for item in value.try_iter()? {
            self.work(VALUE_STEPS)?;
            items.push(item);
        }
        Ok(Value::from(items))
    }

    fn times(&self, value: Value, goes_on: bool) -> Result<Value, Error> {
        let left = self.factors.lock().expect("no panic holds it").pop();
        self.factor(value, left, goes_on)
    }

    /// Multiplies `left` by `value`, and remembers the product where it is itself a factor.
    fn factor(&self, value: Value, left: Option<Factor>, goes_on: bool) -> Result<Value, Error> {
        let mut factor = match (value.is_number(), value.as_str()) {
            (true, _) => Factor { size: value.as_usize().unwrap_or(0), is_number: true },
            (_, Some(text)) => Factor { size: text.len(), is_number: false },
            _ => Factor { size: self.weigh(&value)?, is_number: false },
        };
        if let Some(left) = left {
            let is_number = left.is_number && factor.is_number;
            factor = Factor { size: left.size.saturating_mul(factor.size), is_number };
            if !is_number {
                self.spend(factor.size)?;
            }
        }
        if goes_on {
            self.factors.lock().expect("no panic holds it").push(factor);
        }
        self.made_for_good(value)
    }

    /// What `value` counts; going through a list or map is paid for.
    ///
    /// # Errors
    /// When it is too long or too deep.
    pub fn weigh(&self, value: &Value) -> Result<usize, Error> {
        self.weigh_with(value, Namespaces::Taken)
    }

    fn weigh_with(&self, value: &Value, namespaces: Namespaces) -> Result<usize, Error> {
        let mut scale = Scale { n_values: 0, weight: 0, namespaces };
        let weighed = scale.add(value, 0);
        self.work(scale.n_values.saturating_mul(VALUE_STEPS))?;
        weighed.map(|()| scale.weight)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespaces {
    Taken,
    Refused,
}

/// A value being weighed.
struct Scale {
    n_values: usize,
    weight: usize,
    namespaces: Namespaces,
}

impl Scale {
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.weight = self.weight.saturating_add(value.as_str().map_or(VALUE_BYTES, str::len));
        if depth > DEPTH_MAX || self.weight > WEIGHT_MAX {
            return Err(fault("it makes something too deep or too long"));
        }
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable if value.len().is_some() => {
                for item in value.try_iter()? {
                    self.n_values += 1;
                    self.add(&item, depth + 1)?;
                }
            }
            ValueKind::Map => {
                if self.namespaces == Namespaces::Refused && is_namespace(value) {
                    return Err(fault("a namespace can't be kept in a namespace"));
                }
                for key in value.try_iter()? {
                    // It is also looked up.
                    self.n_values += 4;
                    self.add(&value.get_item(&key)?, depth + 1)?;
                    self.add(&key, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// minijinja's type has no name outside it but this.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}
