//! The token sequences that a model is calibrated on.
//!
//! A text is cut into windows of `ctx` tokens, the first of which is BOS where the model adds one, as the first token of a
//! conversation would be. Of more windows than are wanted some are taken, evenly over all texts: the seed says where the first one
//! is. What a model is to see of chat templates stands in the texts, or the model writes them itself (the caller has the engine).

/// The windows of `texts`, of `ctx` tokens each, at most as many as have `n_tokens` tokens together; a rest of a text that is shorter
/// than half a window is left out, unless it is the whole text.
pub fn windows(
    texts: &[Vec<u32>],
    bos: Option<u32>,
    ctx: usize,
    n_tokens: usize,
    seed: u64,
) -> Vec<Vec<u32>> {
    let head = usize::from(bos.is_some());
    let body = ctx.saturating_sub(head).max(1);
    let of_text = |text: &Vec<u32>| -> Vec<Vec<u32>> {
        let text = text.strip_prefix(bos.as_slice()).unwrap_or(text);
        let windows = text.chunks(body).filter(|part| 2 * part.len() >= body || part.len() == text.len());
        windows.map(|part| bos.iter().chain(part).copied().collect()).collect()
    };
    let all: Vec<Vec<u32>> = texts.iter().flat_map(of_text).collect();
    evenly(all, n_tokens.div_ceil(ctx).max(1), seed)
}

/// `n` of `all`, evenly, in their order.
fn evenly(all: Vec<Vec<u32>>, n: usize, seed: u64) -> Vec<Vec<u32>> {
    let len = all.len();
    if len <= n {
        return all;
    }
    // The i-th of n is somewhere in the i-th of n equal parts, the same place in each.
    let place = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
    let wanted: Vec<usize> = (0..n).map(|i| (i * len + place % len) / n).collect();
    let mut wanted = wanted.into_iter().peekable();
    let mut kept = Vec::with_capacity(n);
    for (i, window) in all.into_iter().enumerate() {
        if wanted.next_if_eq(&i).is_some() {
            kept.push(window);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_with_bos_and_are_spread() {
        let text: Vec<u32> = (10..110).collect();
        let all = windows(std::slice::from_ref(&text), Some(1), 11, 1000, 0);
        assert_eq!(all.len(), 10);
        assert_eq!(all[1], [1, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
        let later: Vec<u32> = (200..300).collect();
        let some = windows(&[text, later], Some(1), 11, 44, 7);
        assert_eq!((some.len(), some.iter().filter(|window| window[1] >= 200).count()), (4, 2));
        // A text that has BOS already gets no second one, a short one is a window.
        assert_eq!(windows(&[vec![1, 5, 6]], Some(1), 11, 100, 0), [[1, 5, 6]]);
        assert!(windows(&[vec![]], None, 11, 100, 0).is_empty());
    }

    #[test]
    fn a_rest_is_left_out() {
        let text: Vec<u32> = (0..24).collect();
        let lengths =
            |n| windows(&[text[..n].to_vec()], None, 10, 1000, 0).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(24), [10, 10]);
        assert_eq!(lengths(16), [10, 6]);
    }
}
