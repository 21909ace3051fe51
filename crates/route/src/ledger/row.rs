//! One request, as a line of JSON. What was asked and answered is not in it.

use serde::{Deserialize, Serialize};

use super::amount::{Carbon, Energy, Money};

/// Where a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On this device.
    Here,
    /// Elsewhere, as it was asked.
    There,
    /// Elsewhere, after parts were replaced by placeholders.
    Redacted,
    /// Nowhere: a rule forbade it.
    Refused,
}

impl Place {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Here, Self::There, Self::Redacted, Self::Refused];

    /// As reports say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::There => "there",
            Self::Redacted => "there, redacted",
            Self::Refused => "refused",
        }
    }
}

/// What one request took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// When it ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where it was answered.
    pub place: Place,
    /// Which model, by the hash of its file, or by its name elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who asked: the name of a key or an app, never the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Tokens of the prompt.
    #[serde(default)]
    pub tokens_in: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub tokens_out: u64,
    /// From the first to the last moment, in milliseconds.
    #[serde(default)]
    pub wall_ms: u64,
    /// CPU time of this device, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// Money: electricity here, the price there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<Money>,
    /// Emissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub co2e: Option<Carbon>,
    /// Bytes that left the device.
    #[serde(default)]
    pub bytes_out: u64,
    /// Bytes that came.
    #[serde(default)]
    pub bytes_in: u64,
    /// What became of the request otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<Instead>,
}

/// What a row says of a request beside its own answer: without it a row is a request with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instead {
    /// This answer came in place of one from here, which has a row of its own, before this one.
    OfHere,
    /// There is no answer, only what was spent on it. The request may have been answered here all the same.
    NoAnswer,
}

/// The most bytes of a line.
pub const LINE_BYTES_MAX: usize = 8192;

impl Row {
    /// A row without anything but when and where.
    pub fn new(at_ms: u64, place: Place) -> Self {
        Self {
            at_ms,
            place,
            model: None,
            by: None,
            tokens_in: 0,
            tokens_out: 0,
            wall_ms: 0,
            cpu_ms: None,
            energy: None,
            money: None,
            co2e: None,
            bytes_out: 0,
            bytes_in: 0,
            instead: None,
        }
    }

    /// As a line, with its end.
    ///
    /// # Errors
    /// That it would be longer than [`LINE_BYTES_MAX`].
    pub fn to_line(&self) -> Result<String, String> {
        let mut line = serde_json::to_string(self).map_err(|e| e.to_string())?;
        line.push('\n');
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("a row of {} bytes, expected {LINE_BYTES_MAX} at most", line.len()));
        }
        Ok(line)
    }

    /// From a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let row: Self = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        let currency = row.money.as_ref().map_or("XXX", |money| &money.currency);
        // Sums are by currency: what is none would make sums without end.
        if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(format!("currency {currency:?}, expected three capitals"));
        }
        Ok(row)
    }
}
