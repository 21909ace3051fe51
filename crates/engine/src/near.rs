//! "Did you mean": the nearest of some names.

/// The name that differs least from `asked`, if it differs little.
pub fn nearest<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let asked = asked.to_lowercase();
    let scored = names.into_iter().map(|name| (distance(&asked, &name.to_lowercase()), name));
    let (changes, name) = scored.min_by_key(|&(changes, _)| changes)?;
    (changes <= 1 + asked.chars().count() / 4).then_some(name)
}

/// Characters to insert, remove or replace to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_errors_and_nothing_far_away() {
        assert_eq!(nearest("demmo", ["demo", "run"]), Some("demo"));
        assert_eq!(nearest("tempratur", ["top-k", "temperature"]), Some("temperature"));
        assert_eq!(nearest("llama", ["demo", "run"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
