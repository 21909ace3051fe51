//! Bytes as people write them.

/// Bytes, with a unit or without.
pub fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("k", 1 << 10),
        ("m", 1 << 20),
        ("g", 1 << 30),
    ];
    let lower = text.trim().to_lowercase();
    let unit = UNITS.iter().find(|(name, _)| lower.ends_with(name));
    let number = unit.map_or(&*lower, |(name, _)| &lower[..lower.len() - name.len()]);
    let bytes = number.trim().parse::<f64>().ok().map(|n| n * unit.map_or(1.0, |(_, bytes)| *bytes as f64));
    let bytes = bytes.filter(|bytes| (1.0..1e18).contains(bytes));
    bytes.map(|bytes| bytes as u64).ok_or_else(|| "expected a size such as 6GiB or 800MiB".to_owned())
}

/// The same, or 0 for `off`.
pub fn bytes_or_off(text: &str) -> Result<u64, String> {
    match text.trim() {
        "off" | "0" => Ok(0),
        text => bytes(text).map_err(|expected| format!("{expected}, or off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let sizes = ["6GiB", "1.5 gb", "800M", "4096"].map(bytes).map(Result::unwrap);
        assert_eq!(sizes, [6 << 30, 1_500_000_000, 800 << 20, 4096]);
        for wrong in ["", "GiB", "-1GiB", "1e30", "nan", "6 GiBs"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_a_size_too() {
        assert_eq!(["off", "0", "1GiB"].map(bytes_or_off), [Ok(0), Ok(0), Ok(1 << 30)]);
        assert!(bytes_or_off("some").unwrap_err().ends_with("or off"));
    }
}
