//! Check digits, as their standards write them. Digits are 0 to 9.

/// ISO/IEC 7812-1, annex B: every second digit from the right is doubled.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| match u32::from(*digit) << (i % 2) {
            double if double > 9 => double - 9,
            value => value,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The sum of digits times weights.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// ISO/IEC 7064, MOD 11,10: a hybrid system with one check digit.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((check, digits)) = digits.split_last() else { return false };
    let product = digits.iter().fold(10, |product, digit| match (u32::from(*digit) + product) % 10 {
        0 => 20 % 11,
        sum => sum * 2 % 11,
    });
    (11 - product) % 10 == u32::from(*check)
}

/// Verhoeff's scheme of 1969: the dihedral group of the pentagon and a permutation.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTED: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    digits.iter().rev().enumerate().fold(0, |sum, (i, digit)| {
        let permuted = (0..i % 8).fold(*digit, |digit, _| PERMUTED[usize::from(digit)]);
        dihedral(sum, permuted)
    }) == 0
}

/// The product of two symmetries of a pentagon: 0 to 4 turn it, 5 to 9 turn it over first.
fn dihedral(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a - 5 + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// ISO/IEC 7064, MOD 97-10, of letters and digits: letters count as two digits from 10 on.
pub(super) fn mod_97(letters_and_digits: impl Iterator<Item = u8>) -> u32 {
    letters_and_digits.fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte.to_ascii_uppercase().saturating_sub(b'A')) + 10) % 97,
    })
}

/// Whether there is such a day: a year of a century that is not known has 29 days in February.
pub(super) fn is_day(month: u64, day: u64) -> bool {
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().map(|byte| byte - b'0').collect()
    }

    /// A scheme that deserves its name sees every wrong digit: so each check must refuse all of them.
    fn sees_every_wrong_digit(check: fn(&[u8]) -> bool, right: &str) {
        let right = digits(right);
        assert!(check(&right));
        for place in 0..right.len() {
            for digit in (0..10).filter(|digit| *digit != right[place]) {
                let mut wrong = right.clone();
                wrong[place] = digit;
                assert!(!check(&wrong), "{wrong:?}");
            }
        }
    }

    #[test]
    fn checks_see_every_wrong_digit() {
        sees_every_wrong_digit(luhn, "79927398713");
        sees_every_wrong_digit(mod_11_10, "86095742719");
        sees_every_wrong_digit(verhoeff, "2363");
        sees_every_wrong_digit(verhoeff, "123456789010");
    }

    #[test]
    fn verhoeff_sees_neighbours_that_changed_places() {
        let right = digits("123456789010");
        for place in 1..right.len() {
            let mut wrong = right.clone();
            wrong.swap(place - 1, place);
            assert!(wrong == right || !verhoeff(&wrong), "{wrong:?}");
        }
    }

    #[test]
    fn letters_count_from_ten() {
        assert_eq!(mod_97("WEST12345698765432GB82".bytes()), 1);
        assert_eq!(mod_97("3214282912345698765432161182".bytes()), 1);
    }
}
