//! The last tokens of a text, as one slice.

/// The last `n` tokens and what belongs to each.
#[derive(Debug, Clone)]
pub struct Tail<T> {
    n: usize,
    /// Up to `2 n + SPARE`; the older ones go all at once, so that adding one costs nothing on average.
    kept: Vec<T>,
}

/// Tokens beyond `n` that are kept at least, so that taking some back still leaves `n`.
const SPARE: usize = 64;

impl<T: Copy> Tail<T> {
    /// Room for the last `n`.
    pub fn new(n: usize) -> Self {
        Self { n, kept: Vec::with_capacity(2 * n + SPARE) }
    }

    /// Adds one.
    pub fn push(&mut self, item: T) {
        if self.kept.len() == 2 * self.n + SPARE {
            self.kept.drain(..self.n);
        }
        self.kept.push(item);
    }

    /// Takes the last `n` back.
    pub fn take_back(&mut self, n: usize) {
        self.kept.truncate(self.kept.len().saturating_sub(n));
    }

    /// The last ones, oldest first: `n` of them or all there are.
    pub fn last(&self) -> &[T] {
        &self.kept[self.kept.len().saturating_sub(self.n)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_end_of_all_that_was_pushed_and_never_grows() {
        let (mut tail, mut all) = (Tail::new(5), Vec::new());
        let room = tail.kept.capacity();
        for i in 0..1000 {
            tail.push(i);
            all.push(i);
            if i % 7 == 0 {
                tail.take_back(3);
                all.truncate(all.len().saturating_sub(3));
            }
            assert_eq!(tail.last(), &all[all.len().saturating_sub(5)..]);
        }
        assert_eq!(tail.kept.capacity(), room);
    }
}
