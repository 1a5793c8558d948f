//! The lines that wait, by what they need and in the order of their turns.

use std::collections::{BTreeMap, VecDeque};

use allocation::Request;

/// The turn of a line: the lower, the earlier. First the priority counts, then
/// the place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: i32,
    pub(super) line: u32,
}

/// Waiting lines. Those that need the same wait behind each other: if the first
/// can't run, nor can the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    by_need: BTreeMap<Request, VecDeque<Rank>>,
}

impl Rank {
    /// The index of the line in its file.
    pub(super) const fn index(self) -> usize {
        self.line as usize
    }
}

impl Waiting {
    /// All of these lines, which come in file order.
    pub(super) fn from_lines(lines: impl Iterator<Item = (Request, Rank)>) -> Self {
        let mut waiting = Self::default();
        // Neighbouring lines mostly need the same.
        let mut run: Option<(Request, VecDeque<Rank>)> = None;
        for (needs, rank) in lines {
            match &mut run {
                Some((same, ranks)) if *same == needs => ranks.push_back(rank),
                other => {
                    if let Some((same, ranks)) = other.take() {
                        waiting.by_need.entry(same).or_default().extend(ranks);
                    }
                    *other = Some((needs, VecDeque::from([rank])));
                }
            }
        }
        if let Some((same, ranks)) = run {
            waiting.by_need.entry(same).or_default().extend(ranks);
        }
        for ranks in waiting.by_need.values_mut() {
            if !ranks.iter().is_sorted() {
                ranks.make_contiguous().sort_unstable();
            }
        }
        waiting
    }

    /// The first line of each kind of need.
    pub(super) fn heads(&self) -> impl Iterator<Item = (Request, Rank)> {
        self.by_need.iter().filter_map(|(request, ranks)| Some((*request, *ranks.front()?)))
    }

    /// The first line of one kind of need.
    pub(super) fn head(&self, request: &Request) -> Option<Rank> {
        self.by_need.get(request)?.front().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_need.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.by_need.values().map(VecDeque::len).sum()
    }

    /// The first lines in the order of their turns, with their needs.
    pub(super) fn first(&self, limit: usize) -> Vec<(Rank, Request)> {
        let each = self.by_need.iter();
        let mut first: Vec<(Rank, Request)> = each
            .flat_map(|(request, ranks)| ranks.iter().take(limit).map(|rank| (*rank, *request)))
            .collect();
        first.sort_unstable();
        first.truncate(limit);
        first
    }

    pub(super) fn contains(&self, request: &Request, rank: Rank) -> bool {
        self.by_need.get(request).is_some_and(|ranks| ranks.binary_search(&rank).is_ok())
    }

    /// Puts a line in its place.
    pub(super) fn insert(&mut self, request: Request, rank: Rank) {
        let ranks = self.by_need.entry(request).or_default();
        if let Err(at) = ranks.binary_search(&rank) {
            ranks.insert(at, rank);
        }
    }

    /// Takes a line out.
    pub(super) fn remove(&mut self, request: &Request, rank: Rank) {
        if let Some(ranks) = self.by_need.get_mut(request) {
            if let Ok(at) = ranks.binary_search(&rank) {
                ranks.remove(at);
            }
            if ranks.is_empty() {
                self.by_need.remove(request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{GpuNeed, Mib};

    use super::*;

    fn needs(vram: u32) -> Request {
        Request::new(Some(Mib::new(vram)), GpuNeed::ONE, None)
    }

    /// Lines as (vram, priority), in file order; the turns they get.
    #[track_caller]
    fn check(lines: &[(u32, i32)], expect: &[u32]) {
        let ranked = (0..)
            .zip(lines)
            .map(|(line, (vram, priority))| (needs(*vram), Rank { priority: *priority, line }));
        let waiting = Waiting::from_lines(ranked.clone());
        let mut one_by_one = Waiting::default();
        ranked.for_each(|(request, rank)| one_by_one.insert(request, rank));
        for waiting in [waiting, one_by_one] {
            let turns: Vec<u32> = waiting.first(usize::MAX).iter().map(|(rank, _)| rank.line).collect();
            assert_eq!(turns, expect);
        }
    }

    #[test]
    fn priority_then_file_order() {
        check(&[(1, 0), (1, 0), (2, 0)], &[0, 1, 2]);
        check(&[(1, 5), (1, 0), (2, -1), (1, 0)], &[2, 1, 3, 0]);
    }

    #[test]
    fn what_is_taken_out_is_gone() {
        let rank = Rank { priority: 3, line: 7 };
        let mut waiting = Waiting::default();
        waiting.insert(needs(1), rank);
        assert!(waiting.contains(&needs(1), rank) && waiting.head(&needs(1)) == Some(rank));
        waiting.remove(&needs(1), rank);
        assert!(waiting.is_empty() && waiting.count() == 0 && waiting.heads().count() == 0);
    }
}
