//! Some of the GPUs of a machine, by index.

use std::fmt;

use crate::GpuIndex;

/// A set of GPUs. Indices go up to 127: the largest machines have 16 GPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuSet(u128);

/// The text is not a list of GPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("item {at}, '{item}', {why}")]
pub struct ParseGpuSetError {
    /// Which of the items between commas, from 1.
    pub at: usize,
    /// The item.
    pub item: String,
    /// What is wrong with it, as the end of a sentence.
    pub why: &'static str,
}

impl GpuSet {
    /// One past the largest index there can be.
    pub const END: u16 = 128;

    /// Adds a GPU; one with an index that is too large is not added.
    pub fn insert(&mut self, gpu: GpuIndex) {
        if gpu.0 < Self::END {
            self.0 |= 1 << gpu.0;
        }
    }

    /// Takes a GPU out.
    pub fn remove(&mut self, gpu: GpuIndex) {
        if gpu.0 < Self::END {
            self.0 &= !(1 << gpu.0);
        }
    }

    /// Whether a GPU is in it.
    pub const fn contains(self, gpu: GpuIndex) -> bool {
        gpu.0 < Self::END && self.0 & (1 << gpu.0) != 0
    }

    /// Whether no GPU is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The GPUs, ascending.
    pub fn iter(self) -> impl Iterator<Item = GpuIndex> {
        (0..Self::END).map(GpuIndex).filter(move |gpu| self.contains(*gpu))
    }

    /// Reads indices and ranges with commas between them: `0-3,5`. White space
    /// around an item does not count.
    ///
    /// # Errors
    /// When an item is neither; the first one that is not is told.
    pub fn parse(text: &str) -> Result<Self, ParseGpuSetError> {
        let mut set = Self::default();
        for (at, item) in (1..).zip(text.split(',').map(str::trim)) {
            let wrong = |why| ParseGpuSetError { at, item: item.to_owned(), why };
            if item.is_empty() {
                return Err(wrong("is empty"));
            }
            let index = |word: &str| {
                let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
                let index = word.parse().ok().filter(|index: &u16| digits && *index < Self::END);
                index.ok_or_else(|| wrong("is not the index of a GPU"))
            };
            let (first, last) = match item.split_once('-') {
                Some((first, last)) => (index(first.trim_end())?, index(last.trim_start())?),
                None => (index(item)?, index(item)?),
            };
            if first > last {
                return Err(wrong("ends before it begins"));
            }
            (first..=last).for_each(|gpu| set.insert(GpuIndex(gpu)));
        }
        Ok(set)
    }
}

impl FromIterator<GpuIndex> for GpuSet {
    fn from_iter<I: IntoIterator<Item = GpuIndex>>(gpus: I) -> Self {
        let mut set = Self::default();
        gpus.into_iter().for_each(|gpu| set.insert(gpu));
        set
    }
}

impl fmt::Display for GpuSet {
    /// As [`GpuSet::parse`] reads it, with ranges where three or more follow
    /// each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = 0;
        let mut between = "";
        while let Some(first) = (next..Self::END).find(|gpu| self.contains(GpuIndex(*gpu))) {
            let end = (first..Self::END).find(|gpu| !self.contains(GpuIndex(*gpu))).unwrap_or(Self::END);
            next = if end - first >= 3 { end } else { first + 1 };
            write!(f, "{between}{first}")?;
            if next == end && end - first >= 3 {
                write!(f, "-{}", end - 1)?;
            }
            between = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<&str, &str>) {
        let set = GpuSet::parse(text);
        let told = set.as_ref().map(ToString::to_string).map_err(ToString::to_string);
        assert_eq!(told.as_deref().map_err(String::as_str), expect, "{text:?}");
        if let Ok(set) = set {
            assert_eq!(GpuSet::parse(&set.to_string()), Ok(set));
            assert_eq!(set.iter().collect::<GpuSet>(), set);
        }
    }

    #[test]
    fn lists_and_ranges() {
        check("0", Ok("0"));
        check("0,1,3", Ok("0,1,3"));
        check(" 3, 0-2 ,1", Ok("0-3"));
        check("0-1", Ok("0,1"));
        check("126-127", Ok("126,127"));
    }

    #[test]
    fn what_is_no_list() {
        check("", Err("item 1, '', is empty"));
        check("0,1,", Err("item 3, '', is empty"));
        check("a", Err("item 1, 'a', is not the index of a GPU"));
        check("0,+1", Err("item 2, '+1', is not the index of a GPU"));
        check("-1", Err("item 1, '-1', is not the index of a GPU"));
        check("128", Err("item 1, '128', is not the index of a GPU"));
        check("3-1", Err("item 1, '3-1', ends before it begins"));
    }

    #[test]
    fn what_is_in_and_out() {
        let mut set = GpuSet::parse("0,5").unwrap();
        set.remove(GpuIndex(0));
        set.insert(GpuIndex(200));
        assert!(set.contains(GpuIndex(5)) && !set.contains(GpuIndex(0)) && !set.contains(GpuIndex(200)));
        set.remove(GpuIndex(5));
        assert!(set.is_empty());
    }
}
