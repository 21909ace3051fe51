//! Targets: what a result must hold, as a user types it.
//!
//! `size<=600MB, kld<=0.03, toks>=25, ram<=1GB`: parts with commas between them, each a quantity, its comparison and a number. Bytes
//! have a unit: B, or KB, MB and GB of thousands, or KiB, MiB and GiB of 1024s. What a target means for formats is [`super::frontier`]'s.

use ingle_model::Error;
use serde::Serialize;

/// What a result must hold; what is `None` may be anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Target {
    /// The most bytes of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The largest mean divergence from the source, in nats a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kld: Option<f64>,
    /// The least tokens a second, one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toks: Option<f64>,
    /// The most bytes of memory while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram: Option<u64>,
}

/// A quantity that targets speak of.
struct Quantity {
    name: &'static str,
    comparison: &'static str,
    example: &'static str,
    /// Notes the number; `false` where it is none.
    set: fn(&mut Target, &str) -> bool,
    is_set: fn(&Target) -> bool,
}

/// Every quantity.
static QUANTITIES: &[Quantity] = &[
    Quantity {
        name: "size",
        comparison: "<=",
        example: "size<=600MB",
        set: |target, text| {
            target.size = bytes(text);
            target.size.is_some()
        },
        is_set: |target| target.size.is_some(),
    },
    Quantity {
        name: "kld",
        comparison: "<=",
        example: "kld<=0.03",
        set: |target, text| {
            target.kld = positive(text);
            target.kld.is_some()
        },
        is_set: |target| target.kld.is_some(),
    },
    Quantity {
        name: "toks",
        comparison: ">=",
        example: "toks>=25",
        set: |target, text| {
            target.toks = positive(text);
            target.toks.is_some()
        },
        is_set: |target| target.toks.is_some(),
    },
    Quantity {
        name: "ram",
        comparison: "<=",
        example: "ram<=1GB",
        set: |target, text| {
            target.ram = bytes(text);
            target.ram.is_some()
        },
        is_set: |target| target.ram.is_some(),
    },
];

/// Units of bytes.
const UNITS: [(&str, u64); 7] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];

impl Target {
    /// Reads targets, each of `texts` one or several with commas between them.
    ///
    /// # Errors
    /// When a part is no target, names a quantity twice, or there is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut target = Self::default();
        for part in texts.into_iter().flat_map(|text| text.split(',')) {
            target.add(part.trim())?;
        }
        if target == Self::default() {
            return Err(Error::Input(format!("no target, expected some of {}", examples())));
        }
        Ok(target)
    }

    fn add(&mut self, part: &str) -> Result<(), Error> {
        let said = |why: String| Error::Input(format!("target {part:?}: {why}"));
        let at = part.find(['<', '>', '=']).unwrap_or(part.len());
        let (name, rest) = (part[..at].trim_end(), &part[at..]);
        let quantity = QUANTITIES.iter().find(|q| q.name.eq_ignore_ascii_case(name));
        let quantity = quantity.ok_or_else(|| said(format!("expected one of {}", examples())))?;
        let number = rest.strip_prefix(quantity.comparison).map(str::trim);
        let number = number.ok_or_else(|| said(format!("expected the form {}", quantity.example)))?;
        if (quantity.is_set)(self) {
            return Err(said(format!("{} was given before, expected it once", quantity.name)));
        }
        if !(quantity.set)(self, number) {
            return Err(said(format!(
                "{number:?} is not its number, expected the form {}",
                quantity.example
            )));
        }
        Ok(())
    }
}

fn examples() -> String {
    QUANTITIES.iter().map(|q| q.example).collect::<Vec<_>>().join(", ")
}

/// A finite number above 0.
fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|v: &f64| v.is_finite() && *v > 0.0)
}

/// Bytes with their unit.
fn bytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let unit = text[at..].to_ascii_lowercase();
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let n = positive(text[..at].trim_end())? * *unit as f64;
    (1.0..9e18).contains(&n).then_some(n as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let all = Target::parse(["size<=600MB, kld <= 0.03", "toks>=25,RAM<=1.5GiB"]).unwrap();
        let expected =
            Target { size: Some(600_000_000), kld: Some(0.03), toks: Some(25.0), ram: Some(3 << 29) };
        assert_eq!(all, expected);
        assert_eq!(Target::parse(["size<=3 KB"]).unwrap().size, Some(3000));
        assert_eq!(Target::parse(["size<=5591270B"]).unwrap().size, Some(5_591_270));
        assert_eq!(Target::parse(["size<=3KiB"]).unwrap().size, Some(3072));
    }

    #[test]
    fn mistakes_are_told_in_a_sentence() {
        for (text, said) in [
            ("", "expected one of size<=600MB"),
            ("speed>=3", "expected one of size<=600MB"),
            ("size>=600MB", "expected the form size<=600MB"),
            ("size<600MB", "expected the form size<=600MB"),
            ("toks<=3", "expected the form toks>=25"),
            ("size<=600", "\"600\" is not its number"),
            ("size<=600TB", "is not its number"),
            ("size<=-1MB", "is not its number"),
            ("size<=1e99GB", "is not its number"),
            ("kld<=0", "is not its number"),
            ("kld<=inf", "is not its number"),
            ("kld<=0.03MB", "is not its number"),
            ("kld<=1,kld<=2", "was given before"),
            ("size<=1MB,", "expected one of"),
        ] {
            let error = Target::parse([text]).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{text}: {error}");
        }
        assert!(Target::parse([]).unwrap_err().to_string().contains("no target"));
    }
}
