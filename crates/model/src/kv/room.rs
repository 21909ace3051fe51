//! Where sequences of a model take their pages: room for so many contexts, of every size of page that its layers have.

use ingle_kernel::attn::Pages;
use ingle_kernel::quant::Format;

use super::Held;
use crate::config::Config;

/// Room for the keys and values of sequences that can share them.
#[derive(Debug, Clone)]
pub struct Room {
    format: &'static Format,
    capacity: usize,
    /// Of each size.
    pages: Vec<Pages>,
    /// Of each layer that attends, the bytes of a page.
    layers: Vec<usize>,
}

impl Room {
    /// Room for `n_sequences` of up to `capacity` positions, and for pages of `spare_bytes` beyond what they hold. It is reserved,
    /// not touched.
    pub fn new(
        config: &Config,
        format: &'static Format,
        capacity: usize,
        n_sequences: usize,
        spare_bytes: u64,
    ) -> Self {
        let (mut sizes, mut layers): (Vec<(usize, usize)>, _) = (Vec::new(), Vec::new());
        for shape in config.layers.iter().filter_map(|layer| layer.mixer.state().kv) {
            let (bytes, n) = (shape.page_bytes(format), n_sequences * shape.n_places(capacity));
            layers.push(bytes);
            match sizes.iter_mut().find(|(size, _)| *size == bytes) {
                Some((_, all)) => *all += n,
                None => sizes.push((bytes, n)),
            }
        }
        // What is kept beyond may be of one size alone.
        let spare = |bytes: usize| (spare_bytes / bytes.max(1) as u64) as usize;
        let pages = sizes.into_iter().map(|(bytes, n)| Pages::new(n + spare(bytes), bytes)).collect();
        Self { format, capacity, pages, layers }
    }

    /// Positions of a sequence.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Format of keys and values.
    pub fn format(&self) -> &'static Format {
        self.format
    }

    /// Bytes of pages that somebody has.
    pub fn n_bytes(&self) -> u64 {
        self.pages.iter().map(|pages| (pages.n_taken() * pages.page_bytes()) as u64).sum()
    }

    /// Bytes of the pages of a block, layer by layer.
    pub fn page_sizes(&self) -> &[usize] {
        &self.layers
    }

    /// Pages for a block, of the layers that are `wanted`, to be written; `None` when there are not enough.
    pub fn blank(&self, wanted: &[bool]) -> Option<Held> {
        let pages =
            self.layers.iter().zip(wanted).map(|(bytes, wanted)| {
                if *wanted { self.pages(*bytes).take().map(Some) } else { Some(None) }
            });
        Some(Held { pages: pages.collect::<Option<_>>()? })
    }

    /// Pages of `bytes`, a size of this model's.
    pub(super) fn pages(&self, bytes: usize) -> &Pages {
        self.pages.iter().find(|pages| pages.page_bytes() == bytes).expect("a size of the room's model")
    }
}
