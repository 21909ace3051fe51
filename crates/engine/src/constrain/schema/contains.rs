//! `contains`: so many items that suit a schema, at one of the first places.
//!
//! An array can't be told to have something somewhere, only what it has at a place. So there is an alternative for each choice of
//! places among the first few.

use serde_json::{Map, Value as Json, json};

use super::refs::{Draft, Scope};
use super::{ALTERNATIVES_MAX, Rewriter, any_of, count, is_anything, refused};
use crate::error::Result;

/// Places among which the items that are asked for may be.
const PLACES_MAX: usize = 5;
/// Choices of places.
const CHOICES_MAX: usize = 10;

impl Rewriter<'_> {
    /// What `contains` and its counts ask of arrays.
    pub(super) fn contains(
        &mut self,
        contained: &Json,
        fields: &Map<String, Json>,
        scope: &Scope,
    ) -> Result<Option<Json>> {
        let number = |keyword: &str| fields.get(keyword).map(|value| count(keyword, value)).transpose();
        // Old drafts don't count.
        let (min, max) = match scope.draft {
            Draft::D4 | Draft::D7 => (1, None),
            _ => (number("minContains")?.unwrap_or(1) as usize, number("maxContains")?.map(|n| n as usize)),
        };
        if min == 0 && max.is_none() {
            return Ok(None);
        }
        if max.is_some_and(|max| max < min) {
            return Err(refused("minContains is greater than maxContains"));
        }
        if min > ALTERNATIVES_MAX {
            return Err(refused(format_args!("minContains {min} is too large to be held")));
        }
        let suits = self.positive(contained, scope)?;
        if is_anything(&suits) {
            let mut counted = json!({ "minItems": min });
            if let Some(max) = max {
                counted["maxItems"] = json!(max);
            }
            return Ok(Some(counted));
        }
        // Where no more than so many may suit, all others do not.
        let other = max.map_or(Ok(json!({})), |_| self.negative(contained, scope))?;
        let choices = choices(min, max.unwrap_or(min));
        let mut options: Vec<Json> = choices
            .into_iter()
            .map(|places| {
                let n_places = places.last().map_or(0, |last| last + 1);
                let place = |i: usize| if places.contains(&i) { suits.clone() } else { other.clone() };
                let mut option = json!({ "type": "array", "minItems": n_places, "items": other });
                if n_places > 0 {
                    option["prefixItems"] = (0..n_places).map(place).collect();
                }
                option
            })
            .collect();
        options.push(json!({ "type": ["null", "boolean", "number", "string", "object"] }));
        Ok(Some(any_of(options)))
    }
}

/// Choices of `min` to `max` places: of the first five, of fewer where that would be too many, and the first `min` at least.
fn choices(min: usize, max: usize) -> Vec<Vec<usize>> {
    let among = |n: usize| -> Vec<Vec<usize>> {
        let chosen = |bits: &u32| (min..=max).contains(&(bits.count_ones() as usize));
        let places = |bits: u32| (0..n).filter(|i| bits >> i & 1 == 1).collect();
        (0..1u32 << n).filter(chosen).map(places).collect()
    };
    let fit = (1..=PLACES_MAX).rev().filter(|&n| n >= min).map(among);
    fit.into_iter().find(|choices| choices.len() <= CHOICES_MAX).unwrap_or_else(|| vec![(0..min).collect()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_as_many_as_there_is_room_for() {
        assert_eq!(choices(1, 1), (0..5).map(|i| vec![i]).collect::<Vec<_>>());
        assert_eq!(choices(2, 2).len(), 10);
        assert_eq!(choices(0, 1).len(), 6);
        assert_eq!(choices(20, 20), [(0..20).collect::<Vec<_>>()]);
        for (min, max) in [(0, 0), (0, 9), (1, 3), (3, 8), (8, 8), (9, 12)] {
            let choices = choices(min, max);
            assert!(choices.len() <= CHOICES_MAX, "{min} {max}");
            assert!(choices.iter().any(|places| places.len() == min), "{min} {max}");
            assert!(choices.iter().all(|places| (min..=max).contains(&places.len())), "{min} {max}");
        }
    }
}
