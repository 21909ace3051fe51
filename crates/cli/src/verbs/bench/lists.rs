//! What the options of `bench` take: several numbers at once, pairs, shares.

/// The most numbers a list may come to.
const NUMBERS_MAX: usize = 1024;

/// Numbers with commas between them, or ranges: `8`, `1,2,4`, `1-16`, `512-2048+512`, `1-16*2`.
pub fn numbers(text: &str, least: usize, most: usize) -> Result<Vec<usize>, String> {
    let mut out = Vec::new();
    for part in text.split(',') {
        extend(&mut out, part, least, most)
            .ok_or_else(|| format!("{part:?}: expected a number from {least} to {most} or a range, such as 4, 1-8, 1-9+2 or 1-16*2"))?;
        if out.len() > NUMBERS_MAX {
            return Err(format!("more than {NUMBERS_MAX} numbers"));
        }
    }
    Ok(out)
}

/// Adds what `part` stands for; `None` where it is no number or range.
fn extend(out: &mut Vec<usize>, part: &str, least: usize, most: usize) -> Option<()> {
    let number = |text: &str| text.parse().ok().filter(|n| (least..=most).contains(n));
    let Some((first, rest)) = part.split_once('-') else {
        out.push(number(part)?);
        return Some(());
    };
    let (last, times, by) = match rest.split_once(['+', '*']) {
        None => (rest, false, 1),
        Some((last, by)) => (last, rest.contains('*'), by.parse::<usize>().ok()?),
    };
    let (mut n, last) = (number(first)?, number(last)?);
    if n > last || by == 0 || (times && (by == 1 || n == 0)) {
        return None;
    }
    while n <= last && out.len() <= NUMBERS_MAX {
        out.push(n);
        n = if times { n.saturating_mul(by) } else { n.saturating_add(by) };
    }
    Some(())
}

/// Tokens of a prompt and of what is generated behind it: `512,128`.
pub fn pair(text: &str, most: usize) -> Result<(usize, usize), String> {
    let number = |text: &str| text.parse().ok().filter(|n| (1..=most).contains(n));
    let both = text.split_once(',').and_then(|(p, n)| Some((number(p)?, number(n)?)));
    both.ok_or_else(|| format!("expected two numbers from 1 to {most}, such as 512,128"))
}

/// A part of a whole: `0.75` or `75%`.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let share = number.trim().parse::<f64>().ok().map(|n| n * unit).filter(|n| (0.0..=10.0).contains(n));
    share.ok_or_else(|| "expected a share, such as 0.75 or 75%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_become_numbers() {
        let of = |text: &str| numbers(text, 0, 4096);
        assert_eq!(of("8"), Ok(vec![8]));
        assert_eq!(of("0,512,1"), Ok(vec![0, 512, 1]));
        assert_eq!(of("1-4,9"), Ok(vec![1, 2, 3, 4, 9]));
        assert_eq!(of("512-2048+512"), Ok(vec![512, 1024, 1536, 2048]));
        assert_eq!(of("1-17*2"), Ok(vec![1, 2, 4, 8, 16]));
        for wrong in ["", "a", "-3", "4-1", "1-4+0", "1-8*1", "0-8*2", "1-4*", "4097", "1,,2", "1-2-3", "-"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(numbers("0", 1, 9).unwrap_err().contains("from 1 to 9"));
        assert!(of("0-4000").unwrap_err().contains("1024"));
    }

    #[test]
    fn pairs_and_shares() {
        assert_eq!(pair("512,128", 4096), Ok((512, 128)));
        for wrong in ["512", "512,0", "0,8", "1,2,3", "a,b", "5000,1"] {
            assert!(pair(wrong, 4096).is_err(), "{wrong}");
        }
        assert_eq!(share("0.75"), Ok(0.75));
        assert_eq!(share("75%"), Ok(0.75));
        for wrong in ["75", "-0.1", "NaN", "%", "inf", "much"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
