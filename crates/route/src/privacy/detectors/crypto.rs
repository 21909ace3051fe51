//! Addresses of wallets: of Bitcoin with their checksums, of Ethereum by their form.
//!
//! They are public by design and still say whose money it is. Found by words that begin `1`, `3`, `bc1` or `0x`.

use sha2::{Digest, Sha256};

use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "CRYPTO", word: "WALLET", class: Class::Financial },
    about: "wallets of Bitcoin (base58 and bech32, checksums right) and of Ethereum (0x and 40 hexadecimal digits)",
    source: "Base58Check; BIP 173 and 350; EIP 55, whose capitals are not checked",
    example: "Send it to ⟦1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa⟧.",
    near_misses: &[
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        "0x1234",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdr",
    ],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    for span in words(page.text, |byte| byte.is_ascii_alphanumeric()) {
        let word = &page.text[span.clone()];
        let found = match word.len() {
            42 if word.starts_with("0x") => word[2..].bytes().all(|byte| byte.is_ascii_hexdigit()),
            26..=35 if word.starts_with(['1', '3']) => base58(word.as_bytes()),
            42..=62 if word.starts_with("bc1") || word.starts_with("BC1") => bech32(word),
            _ => false,
        };
        if found {
            hits.push(span, Certainty::Certain);
        }
    }
}

/// 21 bytes and the first four of the hash of their hash.
fn base58(word: &[u8]) -> bool {
    const LETTERS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0u8; 25];
    for letter in word {
        let Some(value) = LETTERS.iter().position(|other| other == letter) else { return false };
        let mut carry = value as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let hash = Sha256::digest(Sha256::digest(&bytes[..21]));
    hash[..4] == bytes[21..]
}

/// A polynomial over 32 letters, 1 or another constant when all is right.
fn bech32(word: &str) -> bool {
    const LETTERS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let step = |sum: u32, value: u32| {
        let mixed = (sum & 0x1ff_ffff) << 5 ^ value;
        GENERATORS
            .iter()
            .enumerate()
            .fold(mixed, |mixed, (i, g)| if sum >> (25 + i) & 1 == 1 { mixed ^ g } else { mixed })
    };
    // What "bc" expands to.
    let mut sum = [3, 3, 0, 2, 3].into_iter().fold(1, step);
    for letter in word[3..].bytes() {
        let Some(value) = LETTERS.find(char::from(letter.to_ascii_lowercase())) else { return false };
        sum = step(sum, value as u32);
    }
    sum == 1 || sum == 0x2bc8_30a3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wallets_of_every_form_are_found() {
        for wallet in [
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe",
        ] {
            assert_eq!(DETECTOR.find(&format!("to {wallet}.")).len(), 1, "{wallet}");
        }
    }
}
