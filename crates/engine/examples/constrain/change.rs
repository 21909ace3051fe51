//! Instances made of others: with something changed, or with the same value in another form.

use jsonschema::Validator;
use serde_json::{Value as Json, json};

/// Ways to write an instance that are tried.
const FORMS_MAX: usize = 120;

/// Numbers that look random and are the same every time.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }

    /// A token that `row` allows, each with the same chance.
    pub fn any_of(&mut self, row: &[f32]) -> u32 {
        for _ in 0..64 {
            let id = self.below(row.len());
            if row[id] == 0.0 {
                return id as u32;
            }
        }
        let allowed: Vec<usize> = (0..row.len()).filter(|&id| row[id] == 0.0).collect();
        allowed[self.below(allowed.len())] as u32
    }

    /// `instance` with something changed, which leaves it valid or makes it invalid, as is asked.
    pub fn change(&mut self, instance: &Json, judge: &Validator, valid: bool) -> Option<Json> {
        for _ in 0..30 {
            let mut changed = instance.clone();
            self.change_at(&mut changed, 0);
            if judge.is_valid(&changed) == valid && changed != *instance {
                return Some(changed);
            }
        }
        None
    }

    fn change_at(&mut self, value: &mut Json, depth: usize) {
        let inside = self.below(3) > 0 && depth < 6;
        match value {
            Json::Object(fields) if inside && !fields.is_empty() => {
                let name = fields.keys().nth(self.below(fields.len())).cloned().expect("it was counted");
                match self.below(4) {
                    0 => drop(fields.shift_remove(&name)),
                    1 => drop(fields.insert("surely not known".into(), json!(1))),
                    _ => self.change_at(&mut fields[&name], depth + 1),
                }
            }
            Json::Array(items) if inside && !items.is_empty() => {
                let i = self.below(items.len());
                match self.below(4) {
                    0 => drop(items.remove(i)),
                    1 => items.push(items[i].clone()),
                    _ => self.change_at(&mut items[i], depth + 1),
                }
            }
            Json::String(text) if self.below(2) == 0 => text.push_str("~ \u{e9}"),
            other => {
                *other = match self.below(7) {
                    0 => Json::Null,
                    1 => json!(true),
                    2 => json!(-1_234_567),
                    3 => json!(0.5),
                    4 => json!(""),
                    5 => json!([1, 1]),
                    _ => json!({ "a": null }),
                };
            }
        }
    }
}

/// The same value written in other ways: properties in any order, numbers without exponent and without a fraction of zero.
pub fn written_otherwise(value: &Json) -> Vec<String> {
    match value {
        Json::Number(n) => {
            let plain = n.as_f64().map(|n| n.to_string()).filter(|_| !n.is_i64() && !n.is_u64());
            vec![plain.filter(|text| text.len() < 40).unwrap_or_else(|| n.to_string())]
        }
        Json::Array(items) => {
            let mut lists = vec![String::new()];
            for item in items {
                lists = paired(&lists, &written_otherwise(item));
            }
            lists.into_iter().map(|list| format!("[{list}]")).collect()
        }
        Json::Object(fields) => {
            let fields: Vec<(String, Vec<String>)> = fields
                .iter()
                .map(|(name, value)| (json!(name).to_string(), written_otherwise(value)))
                .collect();
            let mut texts = Vec::new();
            order(&fields, &[String::new()], &mut Vec::new(), &mut texts);
            texts.into_iter().map(|text| format!("{{{text}}}")).collect()
        }
        other => vec![other.to_string()],
    }
}

/// Every beginning with every end, a comma between.
fn paired(beginnings: &[String], ends: &[String]) -> Vec<String> {
    let pairs = beginnings.iter().flat_map(|beginning| {
        let comma = if beginning.is_empty() { "" } else { "," };
        ends.iter().map(move |end| format!("{beginning}{comma}{end}"))
    });
    pairs.take(FORMS_MAX).collect()
}

/// Adds to `texts` what begins so and goes on with the fields that are not `taken`, in any order.
fn order(
    fields: &[(String, Vec<String>)],
    beginnings: &[String],
    taken: &mut Vec<usize>,
    texts: &mut Vec<String>,
) {
    if texts.len() >= FORMS_MAX {
        return;
    }
    if taken.len() == fields.len() {
        texts.extend_from_slice(beginnings);
        return;
    }
    for i in (0..fields.len()).filter(|i| !taken.contains(i)).collect::<Vec<_>>() {
        let (name, values) = &fields[i];
        let values: Vec<String> = values.iter().map(|value| format!("{name}:{value}")).collect();
        taken.push(i);
        order(fields, &paired(beginnings, &values), taken, texts);
        taken.pop();
    }
}
