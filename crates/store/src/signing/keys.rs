//! Keys in PEM text: ECDSA on P-256 and P-384, and Ed25519.
//!
//! Public keys are SPKI, private ones PKCS#8, as other programs write them. The hash is the curve's own: SHA-256 for P-256,
//! SHA-384 for P-384.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, UnparsedPublicKey, VerificationAlgorithm,
};

use super::statement::hex;
use crate::error::{Error, Result};

/// Bytes of a PEM text that are read.
const PEM_BYTES_MAX: usize = 64 << 10;

/// A kind of key.
#[derive(Debug)]
pub struct Kind {
    /// As it is typed.
    pub name: &'static str,
    /// What stands before the key's own bytes in an SPKI document.
    spki: &'static [u8],
    /// Bytes of a public key.
    n_bytes: usize,
    verification: &'static dyn VerificationAlgorithm,
    /// `None` for Ed25519.
    ecdsa: Option<&'static EcdsaSigningAlgorithm>,
}

/// Kinds, the one for new signatures first.
pub static KINDS: &[&Kind] = &[
    &Kind {
        name: "p256",
        spki: &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ],
        n_bytes: 65,
        verification: &ECDSA_P256_SHA256_ASN1,
        ecdsa: Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
    },
    &Kind {
        name: "p384",
        spki: &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
            0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
        ],
        n_bytes: 97,
        verification: &ECDSA_P384_SHA384_ASN1,
        ecdsa: Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
    },
    &Kind {
        name: "ed25519",
        spki: &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00],
        n_bytes: 32,
        verification: &ED25519,
        ecdsa: None,
    },
];

/// A key to verify with.
#[derive(Debug, Clone)]
pub struct PublicKey {
    kind: &'static Kind,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads a PEM text. `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Reference`] for anything but a public key of a kind that is known.
    pub fn from_pem(what: &str, text: &str) -> Result<Self> {
        let der = unwrap_pem(what, text, "PUBLIC KEY")?;
        let of =
            |kind: &&&'static Kind| der.len() == kind.spki.len() + kind.n_bytes && der.starts_with(kind.spki);
        let kind = *KINDS.iter().find(of).ok_or_else(|| unknown(what, "a public key"))?;
        Ok(Self { kind, bytes: der[kind.spki.len()..].to_vec() })
    }

    /// The PEM text, as other programs write it.
    pub fn to_pem(&self) -> String {
        let der: Vec<u8> = self.kind.spki.iter().chain(&self.bytes).copied().collect();
        wrap_pem(&der, "PUBLIC KEY")
    }

    /// The key's own bytes: a point, uncompressed, or Ed25519's 32.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        self.kind.name
    }

    /// What names the key in a bundle: SHA-256 of its PEM text.
    pub fn hint(&self) -> String {
        hex(ring::digest::digest(&ring::digest::SHA256, self.to_pem().as_bytes()).as_ref())
    }

    /// Whether `signature` over `message` is this key's.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.kind.verification, &self.bytes).verify(message, signature).is_ok()
    }
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key to sign with.
pub struct PrivateKey {
    kind: &'static Kind,
    pair: Pair,
    random: SystemRandom,
}

/// Says nothing of the secret.
impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("kind", &self.kind.name).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Reads a PEM text. `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Reference`] for anything but a private key of a kind that is known, unencrypted.
    pub fn from_pem(what: &str, text: &str) -> Result<Self> {
        let der = unwrap_pem(what, text, "PRIVATE KEY")?;
        let random = SystemRandom::new();
        for kind in KINDS {
            let pair = match kind.ecdsa {
                Some(ecdsa) => EcdsaKeyPair::from_pkcs8(ecdsa, &der, &random).map(Pair::Ecdsa),
                None => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Pair::Ed25519),
            };
            if let Ok(pair) = pair {
                return Ok(Self { kind, pair, random });
            }
        }
        Err(unknown(what, "a private key (PKCS#8, without a password)"))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let bytes = match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        };
        PublicKey { kind: self.kind, bytes: bytes.to_vec() }
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// [`Error::Random`] when the system has no randomness to give.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&self.random, message).map_err(|_| Error::Random)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// A new private key of `kind`, as PEM text.
///
/// # Errors
/// [`Error::Random`] when the system has no randomness to give.
pub fn generate(kind: &Kind) -> Result<String> {
    let random = SystemRandom::new();
    let document = match kind.ecdsa {
        Some(ecdsa) => EcdsaKeyPair::generate_pkcs8(ecdsa, &random),
        None => Ed25519KeyPair::generate_pkcs8(&random),
    };
    Ok(wrap_pem(document.map_err(|_| Error::Random)?.as_ref(), "PRIVATE KEY"))
}

/// Bytes that nobody can guess.
///
/// # Errors
/// [`Error::Random`] when the system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

fn unknown(what: &str, expected: &str) -> Error {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    Error::Reference {
        found: what.to_owned(),
        expected: format!("expected {expected} in PEM text, of the kind {}", names.join(", ")),
    }
}

fn wrap_pem(der: &[u8], label: &str) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

fn unwrap_pem(what: &str, text: &str, label: &str) -> Result<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let inner =
        text.get(..PEM_BYTES_MAX.min(text.len())).and_then(|t| t.split_once(&begin)?.1.split_once(&end));
    let inner: Option<String> = inner.map(|(inner, _)| inner.split_whitespace().collect());
    let der = inner.and_then(|inner| STANDARD.decode(inner).ok());
    der.ok_or_else(|| unknown(what, &format!("a {}", label.to_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_signs_is_written_read_and_tells_a_forgery() {
        for kind in KINDS {
            let key = PrivateKey::from_pem("k", &generate(kind).unwrap()).unwrap();
            let public = PublicKey::from_pem("k", &key.public().to_pem()).unwrap();
            assert_eq!((public.kind(), public.bytes()), (kind.name, key.public().bytes()));
            let mut signature = key.sign(b"hello").unwrap();
            assert!(public.verifies(b"hello", &signature), "{}", kind.name);
            assert!(!public.verifies(b"hellp", &signature), "{}", kind.name);
            let last = signature.len() - 1;
            signature[last] ^= 1;
            assert!(!public.verifies(b"hello", &signature), "{}", kind.name);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_name() {
        let cut = generate(KINDS[0]).unwrap().replace("BEGIN", "begin");
        for text in ["", "x", cut.as_str(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
            let said = PrivateKey::from_pem("my.pem", text).unwrap_err().to_string();
            assert!(said.starts_with("my.pem: expected a private key"), "{said}");
        }
    }
}
