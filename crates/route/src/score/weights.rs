//! The weights of a scorer as a file.
//!
//! Little-endian: the eight bytes `INGLESCR`, a version, the number of places and of shapes (`u32` each), the intercept and the scale
//! of the places' weights (`f32`), for each shape its mean, the inverse of its spread and its weight (`f32`), a byte with a sign for
//! each place, the length (`u32`) and text of the origin, and the SHA-256 of all that. A file of another length, hash, version or
//! count is refused, as is any number that is not finite, before anything is computed with it. The version stands for the features
//! too: when they change, so does it.

use sha2::{Digest, Sha256};

use super::features::{N_BUCKETS, SHAPES};

const MAGIC: &[u8; 8] = b"INGLESCR";
const VERSION: u32 = 1;
/// Bytes of the text that says where weights come from.
pub const ORIGIN_BYTES_MAX: usize = 1024;
/// Bytes of a file, at most.
pub const FILE_BYTES_MAX: usize = N_BUCKETS + SHAPES_MAX * 12 + ORIGIN_BYTES_MAX + 64;
const SHAPES_MAX: usize = 64;
/// Numbers beyond this are no weights.
const NUMBER_MAX: f32 = 1e6;
/// Spreads from the mean that a shape counts at most: a prompt unlike all that were learned from must not decide by its oddity.
const SPREADS_MAX: f32 = 3.0;

/// A fitted scorer.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    /// The gain of a prompt that says nothing.
    pub intercept: f32,
    /// What a place's byte is multiplied with.
    pub scale: f32,
    /// In the order of [`SHAPES`].
    pub shapes: Vec<ShapeWeight>,
    /// A weight for each place. `(N_BUCKETS)`
    pub buckets: Vec<i8>,
    /// Which labels it was fitted to, and their licence.
    pub origin: String,
}

/// The weight of one number of a prompt's shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShapeWeight {
    /// Its mean where the weights were fitted.
    pub mean: f32,
    /// One over its standard deviation there; 0 if it never varied.
    pub per_spread: f32,
    /// The gain per standard deviation.
    pub weight: f32,
}

impl ShapeWeight {
    /// How far `x` is from the mean, in standard deviations.
    pub fn spreads(&self, x: f32) -> f32 {
        ((x - self.mean) * self.per_spread).clamp(-SPREADS_MAX, SPREADS_MAX)
    }

    /// What `x` adds to the gain.
    pub(super) fn part(&self, x: f32) -> f64 {
        f64::from(self.spreads(x)) * f64::from(self.weight)
    }
}

/// Why bytes are no weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("weights of a prompt score: {what}")]
pub struct WeightsError {
    what: String,
}

fn refuse<T>(what: impl Into<String>) -> Result<T, WeightsError> {
    Err(WeightsError { what: what.into() })
}

impl Scorer {
    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for count in [VERSION, N_BUCKETS as u32, SHAPES.len() as u32] {
            out.extend(count.to_le_bytes());
        }
        let shapes = self.shapes.iter().flat_map(|s| [s.mean, s.per_spread, s.weight]);
        for number in [self.intercept, self.scale].into_iter().chain(shapes) {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.buckets.iter().map(|weight| weight.to_le_bytes()[0]));
        let origin = &self.origin[..self.origin.floor_char_boundary(ORIGIN_BYTES_MAX)];
        out.extend((origin.len() as u32).to_le_bytes());
        out.extend(origin.as_bytes());
        let hash = Sha256::digest(&out);
        out.extend_from_slice(&hash);
        out
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`WeightsError`] says what is not as it should be.
    pub fn parse(bytes: &[u8]) -> Result<Self, WeightsError> {
        if bytes.len() > FILE_BYTES_MAX {
            return refuse(format!("{} bytes, expected at most {FILE_BYTES_MAX}", bytes.len()));
        }
        let Some((body, hash)) = bytes.split_last_chunk::<32>() else {
            return refuse(format!("{} bytes, expected a whole file", bytes.len()));
        };
        let mut rest = Rest(body);
        if rest.take(MAGIC.len())? != MAGIC {
            return refuse("begins with other bytes, expected \"INGLESCR\"");
        }
        if Sha256::digest(body).as_slice() != hash {
            return refuse("its hash is another than that of its bytes: the file is damaged");
        }
        let expected = [VERSION, N_BUCKETS as u32, SHAPES.len() as u32];
        let found = [rest.count()?, rest.count()?, rest.count()?];
        if found != expected {
            return refuse(format!("version, places, shapes {found:?}, expected {expected:?}"));
        }
        let (intercept, scale) = (rest.number()?, rest.number()?);
        let shape =
            |_| Ok(ShapeWeight { mean: rest.number()?, per_spread: rest.number()?, weight: rest.number()? });
        let shapes = (0..SHAPES.len()).map(shape).collect::<Result<_, _>>()?;
        let buckets = rest.take(N_BUCKETS)?.iter().map(|&byte| i8::from_le_bytes([byte])).collect();
        let n_origin = rest.count()? as usize;
        if n_origin > ORIGIN_BYTES_MAX {
            return refuse(format!("an origin of {n_origin} bytes, expected at most {ORIGIN_BYTES_MAX}"));
        }
        let Ok(origin) = std::str::from_utf8(rest.take(n_origin)?) else {
            return refuse("an origin that is no UTF-8, expected text");
        };
        if !rest.0.is_empty() {
            return refuse(format!("{} bytes behind the origin, expected none", rest.0.len()));
        }
        Ok(Self { intercept, scale, shapes, buckets, origin: origin.to_owned() })
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], WeightsError> {
        let Some((taken, rest)) = self.0.split_at_checked(n) else {
            return refuse(format!("ends {} bytes too early", n - self.0.len()));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn four(&mut self) -> Result<[u8; 4], WeightsError> {
        self.take(4)?.try_into().or_else(|_| refuse("ends too early"))
    }

    fn count(&mut self) -> Result<u32, WeightsError> {
        self.four().map(u32::from_le_bytes)
    }

    fn number(&mut self) -> Result<f32, WeightsError> {
        let number = f32::from_le_bytes(self.four()?);
        // Not a number is not smaller either.
        if number.abs() <= NUMBER_MAX {
            return Ok(number);
        }
        refuse(format!("the number {number}, expected one between -{NUMBER_MAX} and {NUMBER_MAX}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scorer() -> Scorer {
        let shape = ShapeWeight { mean: 1.0, per_spread: 0.5, weight: 0.25 };
        Scorer {
            intercept: 0.125,
            scale: 0.01,
            shapes: vec![shape; SHAPES.len()],
            buckets: (0..N_BUCKETS).map(|i| (i % 251) as u8 as i8).collect(),
            origin: "a test; no licence".into(),
        }
    }

    /// The bytes with a change and a right hash.
    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = scorer().to_bytes();
        bytes.truncate(bytes.len() - 32);
        change(&mut bytes);
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
        bytes
    }

    #[test]
    fn a_file_comes_back_as_it_was() {
        let bytes = scorer().to_bytes();
        assert!(bytes.len() <= 70_000, "{}", bytes.len());
        assert_eq!(Scorer::parse(&bytes), Ok(scorer()));
        assert_eq!(Scorer::parse(&changed(|_| ())), Ok(scorer()));
    }

    #[test]
    fn damaged_files_are_refused() {
        let bytes = scorer().to_bytes();
        for cut in [0, 1, 31, 32, 40, 100, bytes.len() - 1] {
            assert!(Scorer::parse(&bytes[..cut]).is_err(), "{cut}");
        }
        for place in (0..bytes.len()).step_by(997) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(Scorer::parse(&damaged).is_err(), "{place}");
        }
        assert!(Scorer::parse(&vec![0; FILE_BYTES_MAX + 1]).unwrap_err().to_string().contains("at most"));
    }

    #[test]
    fn hostile_files_with_right_hashes_are_refused() {
        let says = |bytes: Vec<u8>, what: &str| {
            let error = Scorer::parse(&bytes).expect_err(what).to_string();
            assert!(error.contains(what), "{error}, expected {what}");
        };
        says(changed(|b| b[8] = 2), "version, places, shapes [2,");
        says(changed(|b| b[12..16].copy_from_slice(&u32::MAX.to_le_bytes())), "expected [1, 65536,");
        says(changed(|b| b[20..24].copy_from_slice(&f32::NAN.to_le_bytes())), "the number NaN");
        says(changed(|b| b[24..28].copy_from_slice(&f32::INFINITY.to_le_bytes())), "the number inf");
        says(changed(|b| b.push(0)), "1 bytes behind the origin");
        says(changed(|b| b.truncate(1000)), "too early");
        let origin = scorer().origin.len() + 4;
        let at = |b: &Vec<u8>| b.len() - origin;
        says(
            changed(|b| {
                let i = at(b);
                b[i..i + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            }),
            "at most 1024",
        );
        says(
            changed(|b| {
                let i = at(b);
                b[i + 5] = 0xFF;
            }),
            "no UTF-8",
        );
    }
}
