//! Every tier this CPU has, on every format: integer formats agree with scalar to the bit, float formats within rounding,
//! and no result depends on what else is in the tile.

use ingle_kernel::acts::{Act, Acts, Form};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::gemm::matmul;
use ingle_kernel::mat::{Mat, Packs};
use ingle_kernel::ops::Activation;
use ingle_kernel::par::Pool;
use ingle_kernel::quant::{FORMATS, Format};
use ingle_kernel::simd::{Kernels, TIERS};

const N_TOKENS_MAX: usize = 40;
const N_ROWS_MAX: usize = 19;

/// Names of the tiers that run here, without `exact`.
fn tiers() -> impl Iterator<Item = &'static str> {
    TIERS.iter().map(|t| t.name).filter(|name| Kernels::named(name).is_some())
}

/// Random numbers; xorshift.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }

    /// Uniform in -1..1.
    fn float(&mut self) -> f32 {
        (self.next() & 0xff_ffff) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Blocks of random bytes, every third one of equal bytes, redrawn until all values are finite and moderate.
fn weights(format: &Format, n_values: usize, noise: &mut Noise) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut values = vec![0.0; format.block];
    while bytes.len() < format.row_bytes(n_values) {
        let corner = [0x00, 0x80, 0x7f, 0xff][noise.next() as usize % 4];
        let is_corner = noise.next().is_multiple_of(3);
        // Exponents as in real files, by keeping the bytes that hold scales inside a small range.
        let block: Vec<u8> =
            (0..format.bytes).map(|_| if is_corner { corner } else { noise.next() as u8 }).collect();
        for at in 0..format.bytes - 1 {
            let mut block = block.clone();
            if format.block > 1 {
                // Small positive or negative f16 at the two places scales are found in: head and tail.
                let scales = [noise.next() as u8, 0x20 | noise.next() as u8 & 0x83];
                let place = if at % 2 == 0 { 0 } else { format.bytes - 2 };
                block[place..place + 2].copy_from_slice(&scales);
                if at % 3 == 0 && format.bytes > 4 {
                    block[2..4].copy_from_slice(&scales);
                }
            }
            (format.dequantize)(&block, &mut values);
            if values.iter().all(|v| v.abs() < 100.0) {
                bytes.extend_from_slice(&block);
                break;
            }
        }
    }
    bytes
}

/// Activations of every size, with rows of zeros and of equal extremes among them.
fn inputs(cols: usize, noise: &mut Noise) -> Vec<f32> {
    let mut x = Vec::new();
    for t in 0..N_TOKENS_MAX {
        let size = [1.0, 1e-3, 50.0][t % 3];
        x.extend((0..cols).map(|i| match t {
            5 => 0.0,
            6 => 127.0,
            7 if i % 2 == 0 => -127.0,
            _ => noise.float() * size,
        }));
    }
    x
}

/// Which of the forms of activations that a kernel takes.
type Take = fn(Form) -> Form;

/// Every format with every form its kernels take.
fn cases() -> impl Iterator<Item = (&'static Format, Take)> {
    let own: Take = |form| form;
    let all = FORMATS.iter().map(move |format| (*format, own));
    let finer = FORMATS.iter().filter(|format| format.act == Act::Q8x256);
    all.chain(finer.map(|format| (*format, Form::finer as Take)))
}

fn product(kernels: &Kernels, mat: &Mat, take: Take, x: &[f32], n_threads: usize) -> Vec<f32> {
    let (pool, mut acts) = (Pool::new(n_threads), Acts::default());
    acts.set(&pool, take(mat.kernel().form), x, mat.cols(), kernels.ops().quantize);
    let mut out = vec![f32::NAN; x.len() / mat.cols() * mat.rows()];
    matmul(&pool, &acts, mat, &mut out);
    out
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[test]
fn whole_strips_and_packed_weights_give_scalars_bits() {
    let mut noise = Noise(0x1234_5678_9abc_def1);
    for (format, take) in cases().filter(|(format, _)| format.block > 1) {
        let step = format.block.max(format.act.block());
        for (cols, n_rows) in [(step, 1), (3 * step, 40), (11 * step, 300)] {
            let bytes = Bytes::new(weights(format, n_rows * cols, &mut noise));
            let x: Vec<f32> = (0..13 * cols).map(|_| noise.float()).collect();
            let scalar = Kernels::named("scalar").expect("runs everywhere");
            let truth =
                product(&scalar, &Mat::new(&scalar, format, n_rows, cols, bytes.clone()), take, &x, 1);
            for tier in tiers() {
                let kernels = Kernels::named(tier).expect("listed");
                let plain = Mat::new(&kernels, format, n_rows, cols, bytes.clone());
                let packed = plain.clone().packable(Packs::After(1));
                assert_eq!(packed.packs().is_some(), plain.kernel().packing.is_some());
                for n_tokens in [1, 1, 2, 13] {
                    let x = &x[..n_tokens * cols];
                    let truth = &truth[..n_tokens * n_rows];
                    // The second of the packed ones packs.
                    for (mat, n_threads) in [(&plain, 1), (&packed, 3)] {
                        let found = product(&kernels, mat, take, x, n_threads);
                        assert!(same_bits(&found, truth), "{tier} {} {n_rows} x {cols}", format.name);
                    }
                }
            }
        }
    }
}

#[test]
fn tiers_agree_and_no_result_depends_on_its_neighbours() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for (format, take) in cases() {
        let step = format.block.max(format.act.block());
        for cols in [step, 3 * step, 8 * step, if step == 1 { 77 } else { 11 * step }] {
            let x = inputs(cols, &mut noise);
            let bytes = Bytes::new(weights(format, N_ROWS_MAX * cols, &mut noise));
            let scalar = Kernels::named("scalar").expect("runs everywhere");
            let truth =
                product(&scalar, &Mat::new(&scalar, format, N_ROWS_MAX, cols, bytes.clone()), take, &x, 1);
            for tier in tiers() {
                let kernels = Kernels::named(tier).expect("listed");
                let what = format!("{tier} {} {cols} columns", format.name);
                let mat = Mat::new(&kernels, format, N_ROWS_MAX, cols, bytes.clone());
                let all = product(&kernels, &mat, take, &x, 2);
                if format.act == Act::F32 {
                    close(format, &bytes, &x, cols, &truth, &all, &what);
                } else {
                    assert!(same_bits(&all, &truth), "{what}");
                }
                for n_tokens in [1, 2, 3, 7, 8, 32, 33, N_TOKENS_MAX] {
                    for rows in [0..1, 0..7, 3..11, 1..10, 2..N_ROWS_MAX] {
                        let first_token = N_TOKENS_MAX - n_tokens;
                        let out = product(
                            &kernels,
                            &mat.rows_view(rows.clone()),
                            take,
                            &x[first_token * cols..],
                            1,
                        );
                        for (t, out) in out.chunks(rows.len()).enumerate() {
                            let all = &all[(first_token + t) * N_ROWS_MAX..][rows.clone()];
                            assert!(same_bits(out, all), "{what}: rows {rows:?}, {n_tokens} tokens");
                        }
                    }
                }
            }
        }
    }
}

/// A sum in 16 lanes makes `cols / 16 + 4` additions and as many roundings of products, each at most half a unit in the last
/// place of the sum of magnitudes; two such sums differ by twice that.
fn close(format: &Format, bytes: &[u8], x: &[f32], cols: usize, truth: &[f32], out: &[f32], what: &str) {
    let mut w = vec![0.0; N_ROWS_MAX * cols];
    (format.dequantize)(bytes, &mut w);
    for (i, (a, b)) in truth.iter().zip(out).enumerate() {
        let (t, r) = (i / N_ROWS_MAX, i % N_ROWS_MAX);
        let row = w[r * cols..][..cols].iter().zip(&x[t * cols..]);
        let magnitude: f64 = row.map(|(w, x)| f64::from(w * x).abs()).sum();
        let tolerance = 2.0 * (cols as f64 / 8.0 + 8.0) * 2f64.powi(-24) * magnitude + 1e-40;
        assert!((f64::from(*a) - f64::from(*b)).abs() <= tolerance, "{what}: {a} {b} ({tolerance:e})");
    }
}

#[test]
fn nan_and_infinity_reach_the_result_in_every_tier() {
    let mut noise = Noise(7);
    for (format, take) in cases() {
        let cols = 512;
        let bytes = Bytes::new(weights(format, 3 * cols, &mut noise));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            let mut x = vec![0.25; 2 * cols];
            x[cols + 300] = bad;
            for tier in tiers() {
                let kernels = Kernels::named(tier).expect("listed");
                let out = product(&kernels, &Mat::new(&kernels, format, 3, cols, bytes.clone()), take, &x, 1);
                assert!(out[..3].iter().all(|v| v.is_finite()), "{tier} {} {out:?}", format.name);
                assert!(out[3..].iter().any(|v| !v.is_finite()), "{tier} {} {out:?}", format.name);
            }
        }
    }
}

#[test]
fn small_operations_are_the_same_bits_in_every_tier() {
    let mut noise = Noise(11);
    let x: Vec<f32> = (0..1003).map(|_| noise.float() * 9.0).collect();
    let y: Vec<f32> = (0..1003).map(|_| noise.float()).collect();
    let run = |tier: &str| {
        let kernels = Kernels::named(tier).expect("listed");
        let ops = kernels.ops();
        let mut norm = vec![0.0; x.len()];
        (ops.rms_norm)(&x, &y, 1e-6, &mut norm);
        let mut in_place = x.clone();
        (ops.rms_norm_in_place)(&mut in_place, &y, 1e-6);
        assert!(same_bits(&in_place, &norm), "{tier}");
        let mut layer_norm = vec![0.0; x.len()];
        (ops.layer_norm)(&x, &y, &x, 1e-6, &mut layer_norm);
        in_place.copy_from_slice(&x);
        (ops.layer_norm_in_place)(&mut in_place, &y, &x, 1e-6);
        assert!(same_bits(&in_place, &layer_norm), "{tier}");
        let mut bent = Vec::new();
        for f in Activation::ALL {
            let (mut gate, mut alone) = (x.clone(), x.clone());
            (ops.glu)(f, &mut gate, &y);
            (ops.activate)(f, &mut alone);
            bent.extend(gate.into_iter().chain(alone));
        }
        let mut capped = x.clone();
        (ops.softcap)(&mut capped, 3.0);
        let (mut halves, mut pairs) = (x[..960].to_vec(), x[..960].to_vec());
        (ops.rope_halves)(&mut halves, 80, &y[..40], &y[40..80]);
        (ops.rope_interleaved)(&mut pairs, 80, &y[..36], &y[40..76]);
        let (mut ssm_state, mut delta_state) = (x[..16 * 50].to_vec(), x[..16 * 50].to_vec());
        let (mut ssm_out, mut delta_out) = (vec![0.0; 50], vec![0.0; 50]);
        let (rows, columns) = (&y[..16], &y[100..150]);
        (ops.ssm_step)(&mut ssm_state, columns, rows, &y[16..32], [0.3, -0.7, 2.0], &mut ssm_out);
        (ops.delta_step)(&mut delta_state, rows, &y[16..32], columns, [-0.7, 0.4], &mut delta_out);
        let mut scans = [ssm_state, ssm_out, delta_state, delta_out].concat();
        let (mut state, mut out) = (x[..16 * 50].to_vec(), vec![0.0; 50]);
        let channels = [columns, &y[150..200], &y[200..250]];
        (ops.selective_step)(&mut state, &y[..16 * 50], channels, [rows, &y[16..32]], &mut out);
        scans.extend(state.into_iter().chain(out));
        let mut quantized = Vec::new();
        for act in [Act::Q8x32, Act::Q8x256, Act::Q8x32Of256] {
            let (mut q, mut d, mut sums) = (vec![0; 768], vec![0.0; 768 / act.block()], vec![0; 768 / 32]);
            (ops.quantize)(act, &x[..768], (0, 1), &mut q, &mut d, &mut sums);
            quantized.push((q, d, sums));
        }
        ([norm, layer_norm, bent, capped, halves, pairs, scans], quantized)
    };
    let (floats, quantized) = run("scalar");
    for tier in tiers() {
        let (f, q) = run(tier);
        for (i, (a, b)) in f.iter().zip(&floats).enumerate() {
            assert!(same_bits(a, b), "{tier} operation {i}");
        }
        assert_eq!(q, quantized, "{tier}");
    }
}
