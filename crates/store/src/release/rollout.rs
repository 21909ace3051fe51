//! Whether a device is among those that take a release early. Pure, and decided on the device: the repository learns nothing,
//! and the same device gives the same answer however often it asks. More percent only ever add devices.

use ring::digest::{Context, SHA256};

/// Parts that devices are counted in.
const PARTS: u64 = 100 * 1_000_000;

/// Whether the device with the random number `device` takes the release `model` `version` that `percent` of devices take.
pub fn takes_part(device: &str, model: &str, version: u64, salt: &str, percent: u8) -> bool {
    let mut context = Context::new(&SHA256);
    for part in [device, salt, model, &version.to_string()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let hash = context.finish();
    let first = hash.as_ref().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    first % PARTS < u64::from(percent) * (PARTS / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_devices_take_part_as_were_asked_for_and_a_new_salt_chooses_others() {
        let n_devices = 20_000;
        let devices: Vec<String> = (0..n_devices).map(|n| format!("device {n}")).collect();
        let taking = |percent, salt: &str| -> Vec<bool> {
            devices.iter().map(|d| takes_part(d, "chat", 3, salt, percent)).collect()
        };
        let count = |taking: &[bool]| taking.iter().filter(|&&t| t).count();
        let (ten, thirty) = (taking(10, "a"), taking(30, "a"));
        // Four standard deviations of a binomial count.
        assert!(count(&ten).abs_diff(2000) < 170, "{}", count(&ten));
        assert!(ten.iter().zip(&thirty).all(|(ten, thirty)| !ten || *thirty), "more percent add devices");
        let both = ten.iter().zip(taking(10, "b")).filter(|(a, b)| **a && *b).count();
        assert!(both.abs_diff(200) < 60, "{both}");
        assert_eq!((count(&taking(0, "a")), count(&taking(100, "a"))), (0, n_devices));
    }
}
