//! What one rendering has made, in bytes, and the filters that count it.
//!
//! minijinja's values are trees that share branches: forty lists, each of which holds the one before twice, take a few
//! kilobytes and print as a terabyte. So a list or map counts as what it would print. It is counted where brackets make it,
//! where it is joined and where a namespace keeps it, and no value may count more than [`WEIGHT_MAX`]: then whatever the
//! engine does with one (writes, compares, sorts, drops it) takes that long at most. A namespace in a namespace, which
//! could hold itself, is refused.
//!
//! Left out: how long an instruction takes on values of that size. A template can take minutes, never all memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, Value};

use super::prepare::filters;
use super::{BUDGET_BYTES, fault};

/// What printing a value may take. Conversations of millions of tokens are shorter.
const WEIGHT_MAX: usize = 32 << 20;
/// What a value counts that is no text: more than most print, so that there are not too many to visit.
const VALUE_BYTES: usize = 64;
/// What a list keeps of each of its items.
const ITEM_BYTES: usize = 16;
/// Lists in lists; printing and dropping them recurses.
const DEPTH_MAX: usize = 100;

/// Bytes that one rendering has made.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    spent: Arc<AtomicU64>,
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
    /// Spends `n` bytes of the budget.
    ///
    /// # Errors
    /// When there are not so many left.
    pub fn spend(&self, n: usize) -> Result<(), Error> {
        if self.spent.fetch_add(n as u64, Ordering::Relaxed).saturating_add(n as u64) > BUDGET_BYTES {
            return Err(fault(format!("it made more than {} MB", BUDGET_BYTES >> 20)));
        }
        Ok(())
    }

    /// Adds the filters that `prepare` puts into templates.
    pub fn add_filters(&self, env: &mut Environment<'_>) {
        let filters: [(&str, fn(&Self, &Value) -> Result<(), Error>); 6] = [
            (filters::JOINED, Self::joined),
            (filters::MADE, |meter, value| meter.weigh(value).map(drop)),
            (filters::KEPT, Self::kept),
            (filters::FACTOR, |meter, value| meter.factor(value, None, true)),
            (filters::NEXT_FACTOR, |meter, value| meter.times(value, true)),
            (filters::LAST_FACTOR, |meter, value| meter.times(value, false)),
        ];
        for (name, count) in filters {
            let meter = self.clone();
            env.add_filter(name, move |value: Value| count(&meter, &value).map(|()| value));
        }
        env.add_filter(filters::POWER, |_: Value| {
            Err::<Value, _>(fault("powers as factors are not supported, except in parentheses"))
        });
    }

    fn joined(&self, value: &Value) -> Result<(), Error> {
        match value.as_str() {
            Some(text) => self.spend(text.len()),
            None => {
                self.weigh(value)?;
                self.spend(value.len().unwrap_or(0).saturating_mul(ITEM_BYTES))
            }
        }
    }

    fn kept(&self, value: &Value) -> Result<(), Error> {
        self.weigh_with(value, Namespaces::Refused).map(drop)
    }

    fn times(&self, value: &Value, goes_on: bool) -> Result<(), Error> {
        let left = self.factors.lock().expect("no panic holds it").pop();
        self.factor(value, left, goes_on)
    }

    /// Multiplies `left` by `value`, and remembers the product where it is itself a factor.
    fn factor(&self, value: &Value, left: Option<Factor>, goes_on: bool) -> Result<(), Error> {
        let mut factor = match (value.is_number(), value.as_str()) {
            (true, _) => Factor { size: value.as_usize().unwrap_or(0), is_number: true },
            (_, Some(text)) => Factor { size: text.len(), is_number: false },
            _ => Factor { size: self.weigh(value)?, is_number: false },
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
        Ok(())
    }

    /// What `value` counts; a list or map costs its number of values.
    fn weigh(&self, value: &Value) -> Result<usize, Error> {
        self.weigh_with(value, Namespaces::Taken)
    }

    fn weigh_with(&self, value: &Value, namespaces: Namespaces) -> Result<usize, Error> {
        let mut scale = Scale { n_values: 0, weight: 0, namespaces };
        let weighed = scale.add(value, 0);
        self.spend(scale.n_values)?;
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
                    self.n_values += 2;
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
