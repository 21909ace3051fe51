//! Every format on the shelf against another engine's numbers and against plain arithmetic.
//!
//! `tests/data` holds, per format, 512 values quantised by ggml (`NAME.bytes`) and what they decode to (`NAME.f32`);
//! `source.f32` is what they were made from. `random.txt` has a hash per format of what another reader, the Python package
//! gguf 0.19, decodes from random bytes (q1_0 and q2_0, which it lacks: numpy by their description). A new format is tested by
//! its line on the shelf, these two files and its hash. Where the larger reference data is at hand (`shared/golden` beside
//! the repository) the same checks run on it.

use std::fs;
use std::path::{Path, PathBuf};

use ingle_kernel::acts::{Act, ActRow, Acts, Form, QuantizeRow};
use ingle_kernel::par::Pool;
use ingle_kernel::quant::grid::{GROUP, Grid, Step};
use ingle_kernel::quant::{FORMATS, Format};

/// What ggml made of a format's share of `source`.
struct Golden {
    source: Vec<f32>,
    bytes: Vec<u8>,
    values: Vec<f32>,
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn shared() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/quant");
    if !dir.is_dir() {
        eprintln!("skipped: no reference data at {}", dir.display());
        return None;
    }
    Some(dir)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn golden(dir: &Path, format: &Format) -> Golden {
    // f32 is its own golden.
    let name = if format.name == "f32" { "source.f32".into() } else { format!("{}.bytes", format.name) };
    let decoded = if format.name == "f32" { "source.f32".into() } else { format!("{}.f32", format.name) };
    Golden {
        source: floats(&read(&dir.join("source.f32"))),
        bytes: read(&dir.join(name)),
        values: floats(&read(&dir.join(decoded))),
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn decode(format: &Format, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; bytes.len() / format.bytes * format.block];
    (format.dequantize)(bytes, &mut out);
    out
}

fn relative_rmse(truth: &[f32], other: &[f32]) -> f64 {
    let error: f64 = truth.iter().zip(other).map(|(&t, &o)| (f64::from(t) - f64::from(o)).powi(2)).sum();
    let power: f64 = truth.iter().map(|&t| f64::from(t).powi(2)).sum();
    (error / power).sqrt()
}

/// xorshift; uniform in -1..1.
fn noise(state: &mut u64) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// `n` values as blocks, drawn from the format's golden blocks in random order.
fn row(format: &Format, n: usize, seed: u64) -> Vec<u8> {
    let bytes = golden(&own(), format).bytes;
    let blocks = bytes.len() / format.bytes;
    let mut state = seed;
    let mut row = Vec::with_capacity(format.row_bytes(n));
    for _ in 0..n / format.block {
        let at = ((noise(&mut state) * 0.5 + 0.5) * blocks as f32) as usize % blocks * format.bytes;
        row.extend_from_slice(&bytes[at..at + format.bytes]);
    }
    row
}

/// The activation forms as they are defined, written apart from the library's own.
fn quantize_row(act: Act, x: &[f32], place: (usize, usize), q: &mut [i8], d: &mut [f32], sums: &mut [i32]) {
    assert_eq!(place, (0, 1), "each row on its own");
    for (b, x) in x.chunks(act.block()).enumerate() {
        d[b] = x.iter().fold(0f32, |m, v| m.max(v.abs())) / 127.0;
        for (i, &v) in x.iter().enumerate() {
            q[b * act.block() + i] = (v * (1.0 / d[b])).round_ties_even() as i8;
        }
    }
    for (sum, q) in sums.iter_mut().zip(q.chunks(32)) {
        let of = |q: &[i8]| q.iter().map(|&q| i32::from(q)).sum::<i32>();
        *sum = if act == Act::Q8x32 { of(q) } else { of(&q[..16]) & 0xffff | of(&q[16..]) << 16 };
    }
}

/// Makes `x` the only row of `acts`.
fn set(acts: &mut Acts, act: Act, x: &[f32], quantize: QuantizeRow) {
    acts.set(&Pool::new(1), Form::rows(act), x, x.len(), quantize);
}

fn acts(act: Act, n: usize, seed: u64) -> Acts {
    let mut state = seed;
    let x: Vec<f32> = (0..n).map(|_| noise(&mut state)).collect();
    let mut acts = Acts::default();
    set(&mut acts, act, &x, quantize_row);
    acts
}

fn plain(act: Act, a: ActRow<'_>) -> Vec<f64> {
    match act {
        Act::F32 => a.f.iter().map(|&v| f64::from(v)).collect(),
        _ => a.q.iter().enumerate().map(|(k, &q)| f64::from(q) * f64::from(a.d[k / act.block()])).collect(),
    }
}

fn decodes_like_the_reference(dir: &Path) {
    for format in FORMATS {
        let g = golden(dir, format);
        let values = decode(format, &g.bytes);
        assert_eq!(values.len(), g.values.len(), "{}", format.name);
        for (k, (ours, theirs)) in values.iter().zip(&g.values).enumerate() {
            assert_eq!(ours.to_bits(), theirs.to_bits(), "{}: value {k}: {ours} {theirs}", format.name);
        }
    }
}

/// Not worse than ggml's own quantiser by more than a hundredth.
fn encodes_as_well_as_the_reference(dir: &Path) {
    for format in FORMATS {
        let Some(quantize) = format.quantize else { continue };
        let g = golden(dir, format);
        let mut bytes = vec![0; g.bytes.len()];
        quantize(&g.source, None, &mut bytes);
        let ours = relative_rmse(&g.source, &decode(format, &bytes));
        let theirs = relative_rmse(&g.source, &g.values);
        assert!(ours <= 1.01 * theirs, "{}: {ours} against {theirs}", format.name);
    }
}

#[test]
fn formats_decode_to_ggmls_bits() {
    decodes_like_the_reference(&own());
    if let Some(dir) = shared() {
        decodes_like_the_reference(&dir);
    }
}

#[test]
fn formats_encode_as_well_as_ggml() {
    encodes_as_well_as_the_reference(&own());
    if let Some(dir) = shared() {
        encodes_as_well_as_the_reference(&dir);
    }
}

#[test]
fn names_and_numbers_are_unique() {
    for (i, a) in FORMATS.iter().enumerate() {
        for b in &FORMATS[..i] {
            assert!(!a.name.eq_ignore_ascii_case(b.name) && a.ggml_id != b.ggml_id, "{} {}", a.name, b.name);
        }
    }
}

/// Random bytes, and how many blocks of them are hashed.
fn random_blocks(format: &Format) -> Vec<u8> {
    let n = if format.block == 1 { 1 << 16 } else { 1024 } * format.bytes;
    let (mut state, mut bytes) = (0x9e37_79b9_7f4a_7c15u64, Vec::new());
    while bytes.len() < n {
        noise(&mut state);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(n);
    bytes
}

#[test]
fn any_bytes_decode_as_another_reader_decodes_them() {
    let hashes = String::from_utf8(read(&own().join("random.txt"))).unwrap();
    for format in FORMATS.iter().filter(|f| f.name != "f32") {
        let values = decode(format, &random_blocks(format));
        let bits = values.iter().map(|v| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() });
        // FNV-1a.
        let hash = bits
            .flat_map(u32::to_le_bytes)
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        assert!(
            hashes.lines().any(|l| l == format!("{} {hash:016x}", format.name)),
            "{} {hash:016x}",
            format.name
        );
    }
}

#[test]
fn any_bytes_can_be_multiplied() {
    for format in FORMATS {
        let bytes = random_blocks(format);
        let n = bytes.len() / format.bytes * format.block;
        let mut a = Acts::default();
        set(&mut a, format.act, &vec![-1.0; n], quantize_row);
        // Whatever the result: nothing overflows or is out of range on the way.
        (format.dot)(&bytes, a.row(0));
    }
}

#[test]
fn an_encoded_value_decodes_and_encodes_to_itself() {
    for format in FORMATS {
        let Some(quantize) = format.quantize else { continue };
        let once = decode(format, &golden(&own(), format).bytes);
        let mut bytes = vec![0; format.row_bytes(once.len())];
        quantize(&once, None, &mut bytes);
        assert_eq!(decode(format, &bytes), once, "{}", format.name);
    }
}

/// A block of equal bytes that decodes to something that is not finite, if there is one.
fn bad_block(format: &Format) -> Option<Vec<u8>> {
    let blocks = (0..=255).map(|b| vec![b; format.bytes]);
    blocks.into_iter().find(|block| decode(format, block).iter().any(|v| !v.is_finite()))
}

#[test]
fn what_is_not_finite_stays_so_when_encoded_or_does_no_harm() {
    for format in FORMATS {
        let Some(quantize) = format.quantize else { continue };
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e20] {
            let mut x = vec![0.5; 2 * format.block];
            x[format.block / 2] = bad;
            let mut bytes = vec![0; 2 * format.bytes];
            quantize(&x, None, &mut bytes);
            let values = decode(format, &bytes);
            // A float format holds the large finite ones; what can hold nothing infinite holds its largest value.
            let kept = !values[format.block / 2].is_finite() || values[format.block / 2] > 1e3;
            assert!(
                kept || bad_block(format).is_none(),
                "{} {bad}: {}",
                format.name,
                values[format.block / 2]
            );
            assert!(values[format.block..].iter().all(|v| (v - 0.5).abs() < 0.3), "{} {bad}", format.name);
        }
    }
}

#[test]
fn encoders_take_any_values_and_any_importance() {
    let odd = [
        0.0,
        -0.0,
        1e-45,
        -1e-38,
        1e-7,
        1.0,
        -3e4,
        1e6,
        1e11,
        3e38,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    let mut state = 21;
    let mut pick =
        |kinds: &[f32]| kinds[((noise(&mut state) * 0.5 + 0.5) * kinds.len() as f32) as usize % kinds.len()];
    for format in FORMATS {
        let Some(quantize) = format.quantize else { continue };
        let mut bytes = vec![0; format.row_bytes(256)];
        for round in 0..200 {
            // Ever more of the odd ones.
            let kinds = &odd[..2 + round % (odd.len() - 1)];
            let x: Vec<f32> = (0..256).map(|_| pick(kinds)).collect();
            let importance: Vec<f32> = (0..256).map(|_| pick(&odd)).collect();
            quantize(&x, None, &mut bytes);
            quantize(&x, Some(&importance), &mut bytes);
            if round % (odd.len() - 1) < 5 {
                assert!(decode(format, &bytes).iter().all(|v| v.is_finite()), "{}", format.name);
            }
        }
    }
}

#[test]
fn importance_moves_the_error_to_where_it_matters_less() {
    let source = floats(&read(&own().join("source.f32")));
    let mut state = 31;
    let importance: Vec<f32> = source.iter().map(|_| (3.0 * noise(&mut state)).exp()).collect();
    for format in FORMATS.iter().filter(|f| f.block > 1 && f.name != "q8_0") {
        let Some(quantize) = format.quantize else { continue };
        let run = |importance: Option<&[f32]>| {
            let mut bytes = vec![0; format.row_bytes(source.len())];
            quantize(&source, importance, &mut bytes);
            bytes
        };
        assert_eq!(run(None), run(Some(&vec![0.25; source.len()])), "{}", format.name);
        let weighted = |bytes: &[u8]| -> f64 {
            let values = decode(format, bytes);
            let errors = source.iter().zip(&values).zip(&importance);
            errors.map(|((&s, &v), &w)| f64::from(w) * f64::from(s - v).powi(2)).sum()
        };
        let (with, without) = (weighted(&run(Some(&importance))), weighted(&run(None)));
        // Little where one scale serves 256 values (0.991), more than a third where there are many.
        assert!(with < 0.995 * without, "{}: {with} {without}", format.name);
    }
}

#[test]
fn dot_is_the_sum_of_products() {
    for format in FORMATS {
        for (n, seed) in [(256, 1), (512, 2), (2048, 3)] {
            let (w, a) = (row(format, n, seed), acts(format.act, n, seed + 10));
            let (values, x) = (decode(format, &w), plain(format.act, a.row(0)));
            let truth: f64 = values.iter().zip(&x).map(|(&w, x)| f64::from(w) * x).sum();
            let dot = f64::from((format.dot)(&w, a.row(0)));
            // Each of the additions, and the few roundings before it, errs by at most half a unit in the last place of a
            // partial sum, which the sum of magnitudes bounds. With minima a weight is a difference of two terms, each at
            // most twice the largest weight.
            let additions = if format.block == 1 { n / 16 + 4 } else { n / format.act.block() * 2 };
            let largest = values.iter().fold(0f64, |m, &w| m.max(f64::from(w).abs()));
            let magnitude: f64 = x.iter().map(|x| x.abs() * 4.0 * largest).sum();
            let tolerance = (additions + 4) as f64 * 2f64.powi(-24) * magnitude;
            assert!((dot - truth).abs() <= tolerance, "{} {n}: {dot} {truth} {tolerance:e}", format.name);
        }
    }
}

#[test]
fn a_nan_in_any_scale_or_activation_reaches_the_dot() {
    for format in FORMATS {
        let n = 512;
        let (w, mut a) = (row(format, n, 5), acts(format.act, n, 6));
        for at in scale_places(format) {
            let mut bad = w.clone();
            bad[at..at + 2].copy_from_slice(&NAN16);
            assert!((format.dot)(&bad, a.row(0)).is_nan(), "{} at {at}", format.name);
        }
        if let Some(bad) = bad_block(format).filter(|bad| decode(format, bad)[0].is_nan()) {
            let mut w = w.clone();
            w[..format.bytes].copy_from_slice(&bad);
            assert!((format.dot)(&w, a.row(0)).is_nan(), "{}", format.name);
        }
        let mut x = vec![1.0; n];
        x[n - 1] = f32::NAN;
        set(&mut a, format.act, &x, |act, x, place, q, d, sums| {
            quantize_row(act, x, place, q, d, sums);
            *d.last_mut().unwrap() = f32::NAN;
        });
        assert!((format.dot)(&w, a.row(0)).is_nan(), "{}", format.name);
    }
}

#[test]
fn nothing_overflows_at_the_corners_of_the_integers() {
    for format in FORMATS.iter().filter(|f| f.block > 1) {
        let n = 512;
        let scales = scale_places(format);
        for fill in [0x00, 0x7f, 0x80, 0x88, 0xff] {
            let mut w = row(format, n, 7);
            for (at, b) in w.iter_mut().enumerate() {
                let in_scale = scales.iter().any(|&s| (s..s + 2).contains(&(at % format.bytes)));
                *b = if in_scale { *b } else { fill };
            }
            let values = decode(format, &w);
            if values.iter().any(|v| !v.is_finite()) {
                // Scales in other places.
                assert!(scales.is_empty(), "{}", format.name);
                continue;
            }
            for q in [-127i8, 127] {
                let mut a = Acts::default();
                set(&mut a, format.act, &vec![f32::from(q); n], quantize_row);
                let truth: f64 = values.iter().map(|&v| f64::from(v) * f64::from(q)).sum();
                let dot = f64::from((format.dot)(&w, a.row(0)));
                // As above, with some forty additions at most.
                let magnitude: f64 = values.iter().map(|&v| f64::from(v).abs() * 127.0 * 4.0).sum();
                assert!(
                    (dot - truth).abs() <= magnitude * 40.0 * 2f64.powi(-24),
                    "{} {fill:#x} {q}: {dot} {truth}",
                    format.name
                );
            }
        }
    }
}

/// A NaN as f16, and as the upper half of f32 and bf16.
const NAN16: [u8; 2] = [0xff, 0x7f];

/// Where a block holds its f16 scales: the places at which a NaN makes it decode to NaNs.
fn scale_places(format: &Format) -> Vec<usize> {
    let block = row(format, format.block, 8);
    let places: Vec<usize> = (0..format.bytes - 1)
        .step_by(2)
        .filter(|&at| {
            let mut bad = block.clone();
            bad[at..at + 2].copy_from_slice(&NAN16);
            decode(format, &bad).iter().any(|v| v.is_nan())
        })
        .collect();
    // iq1_m's is scattered, and the others' have no NaN.
    assert_eq!(places.is_empty(), ["iq1_m", "mxfp4", "nvfp4"].contains(&format.name), "{}", format.name);
    places
}

/// The steps and levels of whole blocks.
fn read_grid(format: &Format, grid: &Grid, bytes: &[u8]) -> (Vec<Step>, Vec<i8>) {
    let n = bytes.len() / format.bytes * format.block;
    let (mut steps, mut levels) = (vec![Step::default(); n / GROUP], vec![0; n]);
    (grid.read)(bytes, &mut steps, &mut levels);
    (steps, levels)
}

fn grids() -> impl Iterator<Item = (&'static Format, &'static Grid)> {
    FORMATS.iter().filter_map(|f| f.grid.as_ref().map(|grid| (*f, grid)))
}

#[test]
fn what_is_encoded_in_blocks_has_a_grid() {
    for format in FORMATS {
        assert_eq!(format.grid.is_some(), format.quantize.is_some() && format.block > 1, "{}", format.name);
    }
}

#[test]
fn a_grid_decodes_any_bytes_to_the_same_bits() {
    for (format, grid) in grids() {
        let bytes = random_blocks(format);
        let (steps, levels) = read_grid(format, grid, &bytes);
        for (k, value) in decode(format, &bytes).into_iter().enumerate() {
            let ours = steps[k / GROUP].value(levels[k]);
            let same = ours.to_bits() == value.to_bits() || (ours.is_nan() && value.is_nan());
            assert!(same, "{}: value {k}: {ours} {value}", format.name);
        }
    }
}

#[test]
fn levels_written_back_leave_the_block_as_it_was() {
    let source = golden(&own(), &ingle_kernel::quant::F32).source;
    for (format, grid) in grids() {
        let mut bytes = vec![0; format.row_bytes(source.len())];
        format.quantize.unwrap()(&source, None, &mut bytes);
        let (_, levels) = read_grid(format, grid, &bytes);
        let mut again = bytes.clone();
        (grid.write)(&levels, &mut again);
        assert_eq!(again, bytes, "{}", format.name);
        // Other levels are read as they were written, and scales stay.
        let mut state = 7;
        let mut any = |_: &i8| grid.levels.nearest(128.0 * noise(&mut state));
        let other: Vec<i8> = levels.iter().map(&mut any).collect();
        let before = read_grid(format, grid, &bytes).0;
        (grid.write)(&other, &mut again);
        assert_eq!(read_grid(format, grid, &again), (before, other), "{}", format.name);
    }
}

#[test]
fn the_nearest_levels_are_not_worse_than_what_was_encoded() {
    let source = golden(&own(), &ingle_kernel::quant::F32).source;
    let mut state = 3;
    let importance: Vec<f32> = source.iter().map(|_| noise(&mut state).powi(2)).collect();
    for (format, grid) in grids() {
        let mut bytes = vec![0; format.row_bytes(source.len())];
        format.quantize.unwrap()(&source, Some(&importance), &mut bytes);
        let (steps, levels) = read_grid(format, grid, &bytes);
        for (k, &v) in source.iter().enumerate() {
            let step = steps[k / GROUP];
            let nearest = (step.value(step.nearest(grid.levels, v)) - v).abs();
            let encoded = (step.value(levels[k]) - v).abs();
            // Where both are as near, rounding may tell them apart.
            assert!(nearest <= encoded + 1e-6 * v.abs(), "{}: {v}: {nearest} {encoded}", format.name);
        }
    }
}
