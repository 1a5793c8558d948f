//! Who a line is: the digest of its command, a quick hash that stands for it in
//! memory, and which of the equal commands it is.

use sha1::{Digest, Sha1};

/// The first six bytes of a command's SHA-1: what the Python tool knows it by.
pub fn digest_of(command: &str) -> [u8; 6] {
    let full: [u8; 20] = Sha1::digest(command.as_bytes()).into();
    let mut first = [0; 6];
    first.copy_from_slice(&full[..6]);
    first
}

/// An odd number without a pattern: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A 64-bit hash of a text, eight bytes at a time.
///
/// For this process's memory only: it may change with any version and is no
/// defence against texts made to collide.
pub(crate) fn text_hash(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    // The length tells a text from the same text with NULs behind it.
    let mut state = fold(MULTIPLIER ^ text.len() as u64);
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(state ^ u64::from_le_bytes(last))
}

/// Multiplies and folds the upper half of the product into the lower, so that
/// every bit of the result depends on every bit of `state`.
fn fold(state: u64) -> u64 {
    let product = u128::from(state) * u128::from(MULTIPLIER);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    let low = product as u64;
    let high = (product >> 64) as u64;
    low ^ high
}

/// A text's identity within its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its hash. No other text of the file has it.
    pub(crate) hash: u64,
    /// Which of the equal texts it is, from 0.
    pub(crate) occurrence: u32,
}

/// Counts equal texts: a hash table with the last line of each text.
///
/// Where two texts of a file have the same hash, the later one is given another,
/// in fixed steps until it is free. So within a file equal hashes mean equal
/// texts, for certain and not just very probably.
pub(crate) struct Occurrences {
    /// One more than a line's index; 0 is a free slot. At least half are free.
    slots: Vec<u32>,
    mask: usize,
}

impl Occurrences {
    /// Room for so many lines.
    pub(crate) fn with_capacity(lines: usize) -> Self {
        let slots = (lines * 2).next_power_of_two();
        Self { slots: vec![0; slots], mask: slots - 1 }
    }

    /// The identity of line `index`, whose text hashes to `hash`; `earlier`
    /// tells that of a line before, and `same` whether its text is the same.
    pub(crate) fn identify(
        &mut self,
        index: u32,
        mut hash: u64,
        earlier: impl Fn(usize) -> Identity,
        same: impl Fn(usize) -> bool,
    ) -> Identity {
        let mut slot = self.home(hash);
        loop {
            let Some(line) = self.slots[slot].checked_sub(1) else {
                self.slots[slot] = index + 1;
                return Identity { hash, occurrence: 0 };
            };
            let other = earlier(line as usize);
            if other.hash != hash {
                slot = (slot + 1) & self.mask;
            } else if same(line as usize) {
                self.slots[slot] = index + 1;
                return Identity { hash, occurrence: other.occurrence + 1 };
            } else {
                hash = hash.wrapping_add(MULTIPLIER);
                slot = self.home(hash);
            }
        }
    }

    fn home(&self, hash: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "only as many bits as there are slots count")]
        let slot = hash as usize;
        slot & self.mask
    }
}
