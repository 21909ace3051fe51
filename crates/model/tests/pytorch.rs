//! PyTorch's files: the same weights as safetensors, tensors however they lie in their storages, and hostile ones that are
//! refused in one sentence without running anything.
//!
//! `tests/pytorch/make.py` wrote the files, the valid ones with the library itself.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::damage::{Outcomes, Rng};
use common::import;
use ingle_kernel::bytes::Bytes;
use ingle_model::file::contents::Piece;
use ingle_model::file::entry::Entry;
use ingle_model::file::folder::weights::PYTORCH;
use ingle_model::file::folder::{self, Folder};
use ingle_model::file::{Contents, pytorch};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch")
}

fn bytes(path: PathBuf) -> Bytes {
    Bytes::new(fs::read(path).unwrap())
}

/// The folder of safetensors called `name`, with the weights of PyTorch's files in their place.
fn folder(name: &str) -> Folder {
    let dir = here().join(name);
    let index = fs::read(dir.join(PYTORCH.index)).ok();
    let names = index.as_deref().map_or(vec![PYTORCH.one.to_owned()], |index| PYTORCH.shards(index).unwrap());
    let shards = names.into_iter().map(|name| (name.clone(), bytes(dir.join(name)))).collect();
    let config = fs::read(here().join("../folders").join(name).join(folder::CONFIG)).unwrap();
    Folder { config, weights: &PYTORCH, index, shards, ..Folder::default() }
}

#[test]
fn weights_of_pytorch_are_those_of_safetensors() {
    for (name, container) in [("mistral", "PyTorch"), ("llama", "PyTorch in 2 files")] {
        let ours = folder::import(&folder(name)).unwrap();
        let theirs = import(&here().join("../folders").join(name));
        assert_eq!(ours.container, container);
        let keys =
            |file: &Contents| file.keys().map(|(key, value)| format!("{key} {value:?}")).collect::<Vec<_>>();
        assert_eq!(keys(&ours), keys(&theirs), "{name}");
        assert_eq!(ours.tensors().len(), theirs.tensors().len(), "{name}");
        for (a, b) in ours.tensors().iter().zip(theirs.tensors()) {
            assert_eq!((&a.name, &a.shape, a.format), (&b.name, &b.shape, b.format), "{name}");
            assert!(*a.bytes() == *b.bytes(), "{name}: {}", a.name);
            assert_eq!(a.n_made_bytes(), b.n_made_bytes(), "{name}: {} stays in place as much", a.name);
        }
    }
}

#[test]
fn an_index_and_its_files_are_held_against_each_other() {
    let folder = Folder { shards: folder("llama").shards.split_off(1), ..folder("llama") };
    let said = folder::import(&folder).unwrap_err().to_string();
    assert!(
        said.starts_with(
            "pytorch_model.bin.index.json: tensor model.embed_tokens.weight, which pytorch_model-00001"
        ),
        "{said}"
    );
    let said = PYTORCH.shards(br#"{"weight_map": {"a": "model.safetensors"}}"#).unwrap_err().to_string();
    assert!(said.starts_with("pytorch_model.bin.index.json: file \"model.safetensors\""), "{said}");
}

#[test]
fn tensors_are_read_however_they_lie() {
    let entries = pytorch::parse("layouts.pt", &bytes(here().join("layouts.pt"))).unwrap();
    let entries: BTreeMap<&str, &Entry> = entries.iter().map(|e| (e.name.as_str(), e)).collect();
    let values = |name: &str| {
        let bytes = entries[name].bytes();
        bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect::<Vec<_>>()
    };
    let range = |from: u8, n: u8| (from..from + n).map(f32::from).collect::<Vec<_>>();
    assert_eq!((values("whole"), &entries["whole"].shape[..]), (range(0, 24), &[4, 6][..]));
    assert_eq!((values("rows"), &entries["rows"].shape[..]), (range(6, 12), &[2, 6][..]));
    assert_eq!(values("columns"), [2.0, 3.0, 8.0, 9.0, 14.0, 15.0, 20.0, 21.0]);
    let turned: Vec<f32> = (0..24u8).map(|i| f32::from(i % 4 * 6 + i / 4)).collect();
    assert_eq!((values("turned"), &entries["turned"].shape[..]), (turned.clone(), &[6, 4][..]));
    assert_eq!((values("deep"), &entries["deep"].shape[..]), (turned, &[6, 2, 2][..]));
    assert_eq!(values("every_second"), [0.0, 3.0, 12.0, 15.0]);
    assert_eq!((values("one"), &entries["one"].shape[..]), (vec![23.0], &[][..]));
    assert_eq!(values("row"), range(18, 6));
    assert_eq!((values("none"), &entries["none"].shape[..]), (vec![], &[0, 6][..]));
    assert_eq!(values("parameter"), range(0, 6));
    let made: Vec<_> =
        entries.values().filter(|e| matches!(e.piece, Piece::Made(_))).map(|e| &e.name).collect();
    assert_eq!(made, ["columns", "deep", "every_second", "turned"]);
    for (name, dtype, size) in [
        ("f16", "F16", 2),
        ("bf16", "BF16", 2),
        ("f64", "F64", 8),
        ("i64", "I64", 8),
        ("i32", "I32", 4),
        ("i16", "I16", 2),
        ("i8", "I8", 1),
        ("u8", "U8", 1),
        ("bool", "BOOL", 1),
        ("f8", "F8_E4M3", 1),
        ("u16", "U16", 2),
    ] {
        let entry = entries[name];
        assert_eq!((entry.dtype.as_str(), entry.bytes().len()), (dtype, 24 * size), "{name}");
    }
    assert!(!entries.contains_key("n"), "a number is no tensor");
}

/// File, and what the sentence says after its name. `supported` lists the names or things there are.
const CASES: &[(&str, &str)] = &[
    // Names and instructions.
    (
        "os-system",
        "data.pkl byte 16: the name posix.system is not supported; supported: collections.OrderedDict, torch",
    ),
    ("eval", "data.pkl byte 20: the name __builtin__.eval is not supported"),
    ("builtins-getattr", "data.pkl byte 20: the name builtins.getattr is not supported"),
    ("stack-global", "data.pkl byte 15: the name os.system is not supported"),
    ("name-in-state", "data.pkl byte 47: the name nt.system is not supported"),
    ("name-with-escapes", "data.pkl byte 17: the name os\\u{1b}[2J.system is not supported"),
    ("instance", "data.pkl byte 14: the name os.system is not supported"),
    ("new-object", "data.pkl byte 28: instruction 0x81 is not supported"),
    ("extension", "data.pkl byte 2: instruction 0x82 is not supported"),
    (
        "call-of-storage",
        "data.pkl byte 24: a call of torch.FloatStorage, expected a call that makes a tensor",
    ),
    ("call-of-text", "data.pkl byte 18: a call of something else"),
    ("dictionary-with-items", "data.pkl byte 30: a call of collections.OrderedDict, expected"),
    // The machine.
    ("deep", "data.pkl byte 67: marks within marks, expected at most 64"),
    ("wide", "data.pkl byte 65539: values on values, expected at most 65536 on the stack"),
    ("deep-lists", "data.pkl: something that is no dictionary is not supported"),
    ("itself", "data.pkl: something that is no dictionary is not supported"),
    ("empty-stack", "data.pkl byte 3: an instruction without its values"),
    ("below-mark", "data.pkl byte 5: an instruction without its values"),
    ("no-mark", "data.pkl byte 4: an instruction without its mark"),
    ("no-end", "data.pkl byte 3: 0 bytes left, expected 1, and an end"),
    ("two-values", "data.pkl byte 5: 1 values and 0 bytes more"),
    ("behind-the-end", "data.pkl byte 4: 0 values and 1 bytes more"),
    ("odd-items", "data.pkl byte 6: items for something else, expected keys and values"),
    ("items-for-a-text", "data.pkl byte 11: items for something else"),
    ("state-for-a-list", "data.pkl byte 5: a state for something else, expected one for a dictionary"),
    ("text-absurd", "data.pkl byte 7: a text of 2147483647 bytes, expected at most 65536"),
    ("text-not-utf8", "data.pkl byte 8: a text in invalid UTF-8"),
    ("number-wide", "data.pkl byte 259: a number of 255 bytes, expected at most 8"),
    ("not-remembered", "data.pkl byte 4: remembered value 7, expected one that was"),
    ("protocol", "data.pkl byte 2: protocol 9, expected a protocol up to 5"),
    ("line-endless", "data.pkl byte 3: a line without an end"),
    ("doubling", "data.pkl byte 457: 50 values and 0 bytes more"),
    // What the dictionary holds.
    (
        "no-dictionary",
        "data.pkl: something that is no dictionary is not supported; supported: dictionaries of tensors",
    ),
    ("key-number", "data.pkl: a key that is no text, expected names of tensors"),
    ("list-for-tensor", "tensor w: something that is no tensor is not supported"),
    ("tensor-twice", "tensor w: a second value, expected each tensor once"),
    ("second-no-tensor", "tensor w: a second value, expected each tensor once"),
    ("parameter-nested", "tensor w: a parameter of something else"),
    ("parameter-itself", "tensor w: a parameter of something else"),
    // Tensors and storages.
    (
        "offset-outside",
        "tensor w: shape [2, 2] with strides [2, 1] at 1, expected values within the 4 of its storage",
    ),
    ("offset-negative", "tensor w: a place before its storage"),
    ("offset-absurd", "tensor w: shape [2, 2] with strides [2, 1] at 4611686018427387904, expected"),
    ("stride-outside", "tensor w: shape [2, 2] with strides [3, 1] at 0, expected"),
    ("stride-zero", "tensor w: shape [1099511627776, 2] with strides [0, 1] at 0, expected"),
    ("stride-negative", "tensor w: strides that are none"),
    ("strides-fewer", "tensor w: shape [2, 2] with strides [1] at 0, expected"),
    ("sizes-overflow", "tensor w: shape [1099511627776, 1099511627776] with strides [1, 1] at 0, expected"),
    ("sizes-empty-absurd", ""),
    ("sizes-many", "tensor w: sizes that are none"),
    ("sizes-text", "tensor w: sizes that are none"),
    ("storage-longer", "tensor w: a storage of 16 bytes for 5 values, expected 4 bytes for each"),
    ("storage-negative", "tensor w: a storage of 16 bytes for -1 values"),
    ("storage-absurd", "tensor w: a storage of 16 bytes for 4611686018427387904 values"),
    ("storage-missing", "tensor w: storage \"../../etc/passwd\", which is not there"),
    ("storage-of-nothing", "data.pkl byte 76: the name torch.QInt8Storage is not supported"),
    ("storage-of-type", "tensor w: a storage of 16 bytes for 4 values, expected 2 bytes for each"),
    ("storage-no-tuple", "tensor w: a tensor without a storage"),
    ("untyped", "tensor w: a tensor of bytes without a type"),
    // The archive.
    (
        "old",
        "header: PyTorch's format of before its version 1.6 is not supported; supported: the archive that torch.save",
    ),
    ("big-endian", "byteorder: \"big\" is not supported; supported: little"),
    ("no-pickle", "0 members called data.pkl, expected one"),
    ("two-pickles", "2 members called data.pkl, expected one"),
    (
        "compressed",
        "member a/data.pkl: compression method 8 is not supported; supported: members that are stored",
    ),
    ("encrypted", "member a/data.pkl: encryption is not supported"),
    ("truncated", "end: no record of a zip's end, expected one (is the file truncated?)"),
    ("no-end-record", "end: no record of a zip's end"),
    ("directory-outside", "end: a directory of 110 bytes at byte 2147483647, expected one within"),
    ("directory-short", "directory: 0 whole records, expected 2 records"),
    ("members-more", "directory: 2 whole records, expected 3 records"),
    ("members-fewer", "directory: 54 bytes behind its last record, expected none"),
    ("members-absurd", "end: 1152921504606846976 members, expected at most 1048576"),
    (
        "directory-wide-outside",
        "end: a record in 64 bits at byte 4611686018427387904, expected one that is there",
    ),
    ("several-disks", "end: an archive in several parts is not supported"),
    ("member-outside", "member a/data.pkl: a place at byte 2147483647, expected the member's header there"),
    ("member-longer", "member a/data/0: 1048576 bytes at byte"),
    ("member-wide-missing", "directory: 1 whole records, expected 2 records"),
    ("member-packed", "member a/data/0: 16 stored bytes of 17, expected the same number"),
    ("members-overlap", "member a/data.pkl: bytes of member a/data/0, expected bytes of its own"),
    ("member-twice", "member a/data/0: a second record, expected each member once"),
    ("member-not-utf8", "directory: record 1 in invalid UTF-8, expected a name in UTF-8"),
    ("local-header", "member a/data/0: a place at byte"),
    ("local-name-longer", "member a/data/0: 16 bytes at byte"),
];

#[test]
fn hostile_files_are_refused_in_one_sentence() {
    let dir = here().join("malicious");
    let mut wrong = Vec::new();
    for (case, expected) in CASES {
        let name = format!("{case}.bin");
        let said = match pytorch::parse(&name, &bytes(dir.join(&name))) {
            Err(error) => error.to_string(),
            Ok(entries) if expected.is_empty() => {
                assert!(entries.iter().all(|entry| entry.bytes().is_empty()), "{case}");
                continue;
            }
            Ok(_) => "it reads".to_owned(),
        };
        let rest = said.strip_prefix(&name).map(|rest| rest.trim_start_matches([' ', ':']));
        let right =
            rest.is_some_and(|rest| rest.starts_with(expected)) && !said.contains('\n') && said.len() < 1_000;
        if !right {
            wrong.push(format!("(\"{case}\", \"{}\"),", rest.unwrap_or(&said)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut named: Vec<String> = CASES.iter().map(|(case, _)| format!("{case}.bin")).collect();
    named.push("valid.bin".into());
    for entry in fs::read_dir(dir).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(named.contains(&file), "{file} has no case");
    }
}

#[test]
fn a_damaged_file_is_refused_in_one_sentence_or_read() {
    let (mut rng, mut outcomes) = (Rng(2026), Outcomes::default());
    let valid = ["malicious/valid.bin", "layouts.pt"].map(|name| fs::read(here().join(name)).unwrap());
    for round in 0..20_000 {
        let mut file = valid[round % 2].clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(file.len());
            match rng.below(3) {
                0 => file[at] ^= 1 << rng.below(8),
                1 => file[at] = b"(.)]}tRbQqhXKcs\x85\x86\x87"[rng.below(18)],
                _ => drop(file.drain(at..(at + 1 + rng.below(4)).min(file.len()))),
            }
        }
        outcomes.add(pytorch::parse("file", &Bytes::new(file)).map(|entries| {
            for entry in entries {
                let n: usize = entry.shape.iter().product();
                assert!(n == 0 || entry.bytes().len() % n == 0, "{}", entry.name);
            }
        }));
    }
    outcomes.more_than(5_000, 500);
}
