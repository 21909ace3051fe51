//! `--assert-read` and `--assert-peak`: shares of the limits below which the command fails, for scripts.

use crate::exit::Failure;

/// The least shares that will do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Floors {
    /// Of the read bandwidth, for single tokens.
    pub read: Option<f64>,
    /// Of the peak of products, for many tokens.
    pub peak: Option<f64>,
}

/// A share that was found: what it is of, and what it came to, `None` where its limit could not be measured.
pub type Found = (String, Option<f64>);

impl Floors {
    /// Fails when a share of `read` or `peak` is below its floor, is unknown, or when there is none to look at.
    pub fn check(
        &self,
        read: impl Iterator<Item = Found>,
        peak: impl Iterator<Item = Found>,
    ) -> Result<(), Failure> {
        let mut said = Vec::new();
        if let Some(floor) = self.read {
            said.extend(below("--assert-read", floor, read));
        }
        if let Some(floor) = self.peak {
            said.extend(below("--assert-peak", floor, peak));
        }
        if said.is_empty() { Ok(()) } else { Err(Failure::failed(said.join("; "))) }
    }
}

/// What is wrong with the shares `found`, if anything.
fn below(option: &str, floor: f64, found: impl Iterator<Item = Found>) -> Option<String> {
    let found: Vec<Found> = found.collect();
    if found.is_empty() {
        return Some(format!("{option}: nothing was measured that it speaks of"));
    }
    let low = found.iter().filter(|(_, share)| !share.is_some_and(|share| share >= floor));
    let low: Vec<String> = low
        .map(|(name, share)| match share {
            Some(share) => format!("{name} {:.1}%", share * 100.0),
            None => format!("{name} has no limit measured here"),
        })
        .collect();
    (!low.is_empty()).then(|| format!("{option} {:.1}%: {}", floor * 100.0, low.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_below_its_floor_fails_and_so_does_an_unknown_one() {
        let found = |share| [("tg64".to_owned(), share)].into_iter();
        let none = || std::iter::empty::<Found>();
        let floors = Floors { read: Some(0.75), peak: None };
        assert!(floors.check(found(Some(0.75)), none()).is_ok());
        let said = |read: Result<(), Failure>| read.unwrap_err().message;
        assert_eq!(said(floors.check(found(Some(0.5)), none())), "--assert-read 75.0%: tg64 50.0%");
        assert!(said(floors.check(found(None), none())).contains("no limit measured"));
        assert!(said(floors.check(none(), found(Some(1.0)))).contains("nothing was measured"));
        assert!(Floors::default().check(none(), none()).is_ok());
        let both = Floors { read: Some(0.9), peak: Some(0.9) };
        let said = said(both.check(found(Some(0.95)), found(Some(f64::NAN))));
        assert!(said.starts_with("--assert-peak"), "no number is above no floor: {said}");
    }
}
