//! Longest common and longest increasing subsequences.

/// The pairs of a longest common subsequence of two sequences of these lengths,
/// ascending. Takes time and memory for `old * new` cells.
pub(crate) fn longest_common(
    old: usize,
    new: usize,
    same: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    // best[o][n]: the length of the longest one of old[o..] and new[n..].
    let width = new + 1;
    let mut best = vec![0_u32; (old + 1) * width];
    for o in (0..old).rev() {
        for n in (0..new).rev() {
            best[o * width + n] = if same(o, n) {
                best[(o + 1) * width + n + 1] + 1
            } else {
                best[(o + 1) * width + n].max(best[o * width + n + 1])
            };
        }
    }
    let mut pairs = Vec::new();
    let (mut o, mut n) = (0, 0);
    while o < old && n < new {
        if same(o, n) {
            pairs.push((o, n));
            (o, n) = (o + 1, n + 1);
        } else if best[(o + 1) * width + n] >= best[o * width + n + 1] {
            o += 1;
        } else {
            n += 1;
        }
    }
    pairs
}

/// A longest choice of these pairs in which both sides ascend. The second side
/// ascends already, and no two pairs have a side in common.
pub(crate) fn longest_ascending(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // ends[k]: of the chains of length k + 1, the pair that ends lowest.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (i, (old, _)) in pairs.iter().enumerate() {
        let in_order = ends.last().is_none_or(|end| pairs[*end].0 < *old);
        let length = if in_order { ends.len() } else { ends.partition_point(|end| pairs[*end].0 < *old) };
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        if length == ends.len() {
            ends.push(i);
        } else {
            ends[length] = i;
        }
    }
    let last = ends.last().copied();
    let mut chain: Vec<_> = std::iter::successors(last, |i| before[*i]).map(|i| pairs[i]).collect();
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str, expect: &str) {
        let (o, n) = (old.as_bytes(), new.as_bytes());
        let common: String = longest_common(o.len(), n.len(), |i, j| o[i] == n[j])
            .iter()
            .map(|(i, _)| char::from(o[*i]))
            .collect();
        assert_eq!(common, expect, "{old} {new}");
    }

    #[test]
    fn common() {
        check("", "", "");
        check("abc", "", "");
        check("abc", "abc", "abc");
        check("abc", "cab", "ab");
        check("axbxc", "abc", "abc");
        check("abcbdab", "bdcaba", "bdab");
    }

    #[test]
    fn ascending() {
        assert_eq!(longest_ascending(&[]), []);
        assert_eq!(longest_ascending(&[(2, 0), (1, 1), (0, 2)]).len(), 1);
        assert_eq!(longest_ascending(&[(1, 0), (2, 1), (3, 2), (0, 3)]), [(1, 0), (2, 1), (3, 2)]);
    }
}
