//! Sealed files against another implementation of the same construction, and against everybody who changes them.

use std::io::{self, Read, Write};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::*;

const RANDOM: [u8; PREFIX_BYTES] = *b"nineteen random one";

fn key(byte: u8) -> Key {
    Key::new(Zeroizing::new([byte; 32]))
}

/// `n` bytes that repeat nowhere soon.
fn plain(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn seal(plain: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &key(1), "test", RANDOM).unwrap();
    // In pieces that end within frames.
    plain.chunks(10_007).for_each(|piece| writer.write_all(piece).unwrap());
    writer.finish().unwrap()
}

fn open_as(sealed: &[u8], key: &Key, label: &str) -> io::Result<Vec<u8>> {
    let mut reader = Reader::new(sealed, sealed.len() as u64, key, label)?;
    let mut out = Vec::new();
    reader.read_to_end(&mut out)?;
    assert_eq!(reader.n_bytes(), out.len() as u64);
    Ok(out)
}

fn open(sealed: &[u8]) -> io::Result<Vec<u8>> {
    open_as(sealed, &key(1), "test")
}

/// Where frame `idx` lies in a file of `n` sealed bytes.
fn frame(idx: usize) -> std::ops::Range<usize> {
    let whole = FRAME_BYTES + TAG_BYTES;
    HEAD_BYTES + idx * whole..HEAD_BYTES + (idx + 1) * whole
}

#[test]
fn what_was_sealed_is_opened_for_every_size_around_a_frame() {
    for n in [0, 1, 15, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES, 200_000] {
        let sealed = seal(&plain(n));
        assert_eq!(sealed.len() as u64, sealed_bytes(n as u64), "{n}");
        assert!(is_sealed(&sealed));
        assert!(open(&sealed).unwrap() == plain(n), "{n}");
    }
}

/// The words of the format's description, spoken by another implementation of XChaCha20-Poly1305.
#[test]
fn frames_are_xchacha20_poly1305_in_stream_as_others_compute_it() {
    let text = plain(2 * FRAME_BYTES + 77);
    let sealed = seal(&text);
    let other = XChaCha20Poly1305::new(&[1; 32].into());
    let about = [&sealed[..HEAD_BYTES], b"test"].concat();
    let mut expected = sealed[..HEAD_BYTES].to_vec();
    assert_eq!(&expected[28..47], &RANDOM);
    for (idx, piece) in text.chunks(FRAME_BYTES).enumerate() {
        let is_last = u8::from(idx == 2);
        let nonce = [&RANDOM[..], &(idx as u32).to_be_bytes(), &[is_last]].concat();
        let nonce = XNonce::try_from(&nonce[..]).unwrap();
        expected.extend(other.encrypt(&nonce, Payload { msg: piece, aad: &about }).unwrap());
    }
    assert!(sealed == expected);
}

#[test]
fn a_changed_bit_anywhere_is_refused() {
    let sealed = seal(&plain(900));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(open(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let short = seal(&plain(100));
    for end in 0..short.len() {
        assert!(open(&short[..end]).is_err(), "{end} bytes");
    }
    // Between frames, and around them.
    let sealed = seal(&plain(3 * FRAME_BYTES));
    for end in [1, 2].map(|idx| frame(idx).start).into_iter().flat_map(|at| at - 17..at + 18) {
        assert!(open(&sealed[..end]).is_err(), "{end} bytes");
    }
    let mut longer = sealed.clone();
    longer.push(0);
    assert!(open(&longer).is_err());
    longer.extend([0; TAG_BYTES - 1]);
    assert!(open(&longer).is_err());
}

#[test]
fn frames_out_of_order_twice_or_of_another_file_are_refused() {
    let sealed = seal(&plain(4 * FRAME_BYTES));
    let mut swapped = sealed.clone();
    swapped[frame(1)].copy_from_slice(&sealed[frame(2)]);
    swapped[frame(2)].copy_from_slice(&sealed[frame(1)]);
    assert!(open(&swapped).is_err());
    let mut twice = sealed.clone();
    twice[frame(1)].copy_from_slice(&sealed[frame(0)]);
    assert!(open(&twice).is_err());
    let without = [&sealed[..frame(1).start], &sealed[frame(1).end..]].concat();
    assert!(open(&without).is_err());
    // The same text under the same key, with other random bytes.
    let mut writer = Writer::new(Vec::new(), &key(1), "test", [5; PREFIX_BYTES]).unwrap();
    writer.write_all(&plain(4 * FRAME_BYTES)).unwrap();
    let mut spliced = writer.finish().unwrap();
    assert!(open(&spliced).is_ok());
    spliced[frame(1)].copy_from_slice(&sealed[frame(1)]);
    assert!(open(&spliced).is_err());
}

#[test]
fn nothing_is_given_of_a_frame_that_is_refused() {
    let mut sealed = seal(&plain(2 * FRAME_BYTES));
    sealed[frame(1).start + 5] ^= 1;
    let mut reader = Reader::new(&sealed[..], sealed.len() as u64, &key(1), "test").unwrap();
    let mut out = Vec::new();
    let refused = reader.read_to_end(&mut out).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    assert!(out == plain(FRAME_BYTES));
    assert!(reader.read(&mut [0; 9]).is_err());
}

#[test]
fn refusals_say_why_in_a_sentence() {
    let sealed = seal(b"hello");
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = sealed.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        open(&changed).unwrap_err().to_string()
    };
    let (mine, other) = (key(1), key(2));
    for (said, expected) in [
        (with(0, b"GGUF"), "it is not sealed, expected a file that begins with ingleSF1".to_owned()),
        (with(7, b"2"), "it is sealed in a way that this version does not know, expected version 1".into()),
        (with(24, &[255; 4]), "its head asks for frames that no version writes".into()),
        (with(24, &1000u32.to_le_bytes()), "its head asks for frames that no version writes".into()),
        (
            open_as(&sealed, &other, "test").unwrap_err().to_string(),
            format!("it was sealed with the key {}, expected {}", mine.id(), other.id()),
        ),
        (
            open_as(&sealed, &mine, "other").unwrap_err().to_string(),
            "frame 0 is not what was sealed there: the file was changed, cut or put together".into(),
        ),
        (open(&sealed[..40]).unwrap_err().to_string(), "it is too short to be sealed".into()),
    ] {
        assert_eq!(said, expected);
    }
}
