//! The outer form of a signature: a Sigstore bundle around a DSSE envelope.
//!
//! Parsed by the rules of OMS v1.0's schemas: unknown fields are refused where these refuse them. What the material for
//! verifying is tells the method; only a key's is used further.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::keys::{PrivateKey, PublicKey};
use super::mismatch;
use crate::error::Result;

/// Bytes of a bundle that are read.
pub const BYTES_MAX: u64 = 16 << 20;
/// The type of what is signed.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// How the type of any version begins.
const MEDIA_TYPE_STEM: &str = "application/vnd.dev.sigstore.bundle";
/// Signatures of one envelope.
const SIGNATURES_MAX: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Outer {
    media_type: String,
    verification_material: Value,
    dsse_envelope: Envelope,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    sig: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
}

/// A bundle of the right form. That says nothing about its signature.
#[derive(Debug)]
pub struct Bundle {
    outer: Outer,
    method: Method,
    payload: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

/// How a bundle was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// With a key that the verifier has.
    Key {
        /// SHA-256 of the public key's PEM text, where the signer says it.
        hint: Option<String>,
    },
    /// With a key that a chain of certificates vouches for.
    Certificate,
    /// Keyless, by an identity and a public log.
    Sigstore,
}

impl Method {
    /// As OMS calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Key { .. } => "key",
            Self::Certificate => "certificate",
            Self::Sigstore => "sigstore",
        }
    }
}

impl Bundle {
    /// Reads a bundle. `what` names it in errors.
    ///
    /// # Errors
    /// [`crate::Error::Mismatch`] with the part that is wrong.
    pub fn parse(what: &str, text: &[u8]) -> Result<Self> {
        if text.len() as u64 > BYTES_MAX {
            let (found, expected) = (format!("{} bytes", text.len()), format!("at most {BYTES_MAX}"));
            return Err(mismatch(what, "bundle", &found, &expected));
        }
        let outer: Outer = serde_json::from_slice(text)
            .map_err(|e| mismatch(what, "bundle", &e.to_string(), "a Sigstore bundle"))?;
        if !outer.media_type.starts_with(MEDIA_TYPE_STEM) {
            return Err(mismatch(what, "mediaType", &outer.media_type, MEDIA_TYPE));
        }
        let method = method_of(&outer.verification_material)
            .map_err(|(found, expected)| mismatch(what, "verificationMaterial", &found, &expected))?;
        let envelope = &outer.dsse_envelope;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(mismatch(what, "payloadType", &envelope.payload_type, PAYLOAD_TYPE));
        }
        if !(1..=SIGNATURES_MAX).contains(&envelope.signatures.len()) {
            let found = envelope.signatures.len().to_string();
            return Err(mismatch(what, "signatures", &found, &format!("1 to {SIGNATURES_MAX}")));
        }
        let decode = |part: &str, text: &str| match STANDARD.decode(text) {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            Ok(_) => Err(mismatch(what, part, "nothing", "base64")),
            Err(e) => Err(mismatch(what, part, &e.to_string(), "base64")),
        };
        let payload = decode("payload", &envelope.payload)?;
        let signatures = envelope.signatures.iter().map(|s| decode("sig", &s.sig)).collect::<Result<_>>()?;
        Ok(Self { method, payload, signatures, outer })
    }

    /// Signs `payload`.
    pub(super) fn sign(payload: &[u8], key: &PrivateKey) -> Result<Self> {
        let signature = key.sign(&encoding(payload))?;
        let hint = key.public().hint();
        let outer = Outer {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: json!({ "publicKey": { "hint": hint }, "tlogEntries": [] }),
            dsse_envelope: Envelope {
                payload: STANDARD.encode(payload),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: vec![Signature { sig: STANDARD.encode(&signature), keyid: Some(String::new()) }],
            },
        };
        let method = Method::Key { hint: Some(hint) };
        Ok(Self { outer, method, payload: payload.to_vec(), signatures: vec![signature] })
    }

    /// The bundle as a file holds it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(&self.outer).expect("a bundle is plain data");
        text.push(b'\n');
        text
    }

    /// How it was signed.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// What was signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// That one of the signatures is `key`'s.
    pub(super) fn verify(&self, what: &str, key: &PublicKey, hint: &Option<String>) -> Result<()> {
        if let Some(hint) = hint.as_ref().filter(|hint| **hint != key.hint()) {
            return Err(mismatch(
                what,
                "key",
                &format!("the key {hint}"),
                &format!("the key {}", key.hint()),
            ));
        }
        let signed = encoding(&self.payload);
        if self.signatures.iter().any(|signature| key.verifies(&signed, signature)) {
            return Ok(());
        }
        Err(mismatch(
            what,
            "signature",
            "one that the key did not make",
            &format!("one of the key {}", key.hint()),
        ))
    }
}

/// DSSE's encoding of type and payload, which is what a signature is over.
fn encoding(payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    out.extend(payload);
    out
}

/// The method that the material is for: the first of OMS's three forms that it has. Errors are found and expected.
fn method_of(material: &Value) -> std::result::Result<Method, (String, String)> {
    let wrong = |found: &str, expected: &str| Err((found.to_owned(), expected.to_owned()));
    let Some(material) = material.as_object() else { return wrong("no object", "an object") };
    let entries = material.get("tlogEntries");
    let n_entries = match entries.map(Value::as_array) {
        None => 0,
        Some(Some(entries)) if entries.iter().all(Value::is_object) => entries.len(),
        Some(_) => return wrong("tlogEntries that are no objects", "a list of objects"),
    };
    if material.get("timestampVerificationData").is_some_and(|data| !data.is_object()) {
        return wrong("timestampVerificationData that is no object", "an object");
    }
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(key) = material.get("publicKey") {
        let hint = text(key, "hint").filter(|hint| !hint.is_empty());
        if key.get("hint").is_none_or(|h| !h.is_string()) && text(key, "rawBytes").is_none() {
            return wrong("publicKey without hint", "a hint of the key");
        }
        return Ok(Method::Key { hint });
    }
    let is_certificate = |value: &Value| text(value, "rawBytes").is_some_and(|raw| !raw.is_empty());
    if let Some(chain) = material.get("x509CertificateChain") {
        let certificates = chain.get("certificates").and_then(Value::as_array);
        return match certificates {
            Some(all) if !all.is_empty() && all.iter().all(is_certificate) => Ok(Method::Certificate),
            _ => wrong("a chain without certificates", "at least one certificate"),
        };
    }
    match material.get("certificate") {
        Some(one) if is_certificate(one) && n_entries > 0 => Ok(Method::Sigstore),
        Some(one) if is_certificate(one) => wrong("no tlogEntries", "an entry of a transparency log"),
        _ => wrong("no key and no certificate", "publicKey, x509CertificateChain or certificate"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of DSSE's protocol document, with our payload type in the place of its own.
    #[test]
    fn what_is_signed_says_type_and_lengths() {
        assert_eq!(encoding(b"hello world"), b"DSSEv1 28 application/vnd.in-toto+json 11 hello world");
    }
}
