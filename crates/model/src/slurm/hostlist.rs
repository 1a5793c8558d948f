//! Lists of nodes: `node[01-03,7]` stands for node01, node02, node03 and node7
//! (scontrol(1), "show hostnames"; slurm.conf(5), `NodeName`).

use std::collections::BTreeSet;

use super::NodeName;

/// How many nodes a list may stand for. The largest machines have some ten
/// thousand; a list of more is a mistake, or an attack on our memory.
pub const MOST_NODES: usize = 100_000;

/// The text is not a list of nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostlistError {
    /// A bracket without its other half, or inside another pair.
    #[error("brackets do not match in the list of nodes {0:?}")]
    Brackets(String),
    /// What is in the brackets is not numbers and ranges.
    #[error("{0:?} is not a range of node numbers")]
    Range(String),
    /// What comes out is not the name of a node.
    #[error("{0:?} is not the name of a node")]
    Name(String),
    /// It is more than [`MOST_NODES`].
    #[error("the list stands for more than {MOST_NODES} nodes")]
    TooMany,
}

/// The nodes a list stands for, in its order. No text is no node.
///
/// # Errors
/// When the text is not a list of nodes.
pub fn expand(text: &str) -> Result<Vec<NodeName>, HostlistError> {
    let mut nodes = Vec::new();
    for item in items(text)? {
        let names = expand_item(item, MOST_NODES - nodes.len())?;
        for name in names {
            nodes.push(name.parse().map_err(|_| HostlistError::Name(name))?);
        }
    }
    Ok(nodes)
}

/// The parts between the commas that are not in brackets.
fn items(text: &str) -> Result<Vec<&str>, HostlistError> {
    let mismatch = || HostlistError::Brackets(text.to_owned());
    let (mut items, mut from, mut inside) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' if inside => return Err(mismatch()),
            b']' if !inside => return Err(mismatch()),
            b'[' | b']' => inside = !inside,
            b',' if !inside => {
                items.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(mismatch());
    }
    if !text.is_empty() {
        items.push(&text[from..]);
    }
    Ok(items)
}

/// The names of one part, all of whose brackets match.
fn expand_item(item: &str, most: usize) -> Result<Vec<String>, HostlistError> {
    let mut names = vec![String::new()];
    let mut rest = item;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, behind) = after.split_once(']').unwrap_or((after, ""));
        let numbers = numbers(inside, most)?;
        if names.len().saturating_mul(numbers.len()) > most {
            return Err(HostlistError::TooMany);
        }
        let longer = |name: &String| numbers.iter().map(|n| format!("{name}{before}{n}")).collect::<Vec<_>>();
        names = names.iter().flat_map(longer).collect();
        rest = behind;
    }
    if names.len() > most {
        return Err(HostlistError::TooMany);
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

/// What stands in brackets: `01-03,7`. Numbers keep their leading zeros.
fn numbers(text: &str, most: usize) -> Result<Vec<String>, HostlistError> {
    let mut numbers = Vec::new();
    for range in text.split(',') {
        let error = || HostlistError::Range(range.to_owned());
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (number(first).ok_or_else(error)?, number(last).ok_or_else(error)?);
        let count = to.checked_sub(from).ok_or_else(error)?;
        if usize::try_from(count).is_ok_and(|count| count < most - numbers.len().min(most)) {
            let width = first.len();
            numbers.extend((from..=to).map(|number| format!("{number:0width$}")));
        } else {
            return Err(HostlistError::TooMany);
        }
    }
    Ok(numbers)
}

/// A number of at most 18 digits, which always fits.
fn number(text: &str) -> Option<u64> {
    let fits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// The shortest list of this kind that stands for these nodes: names that differ
/// in the number at their end are put together. Each node is named once, those of
/// one kind by number, the kinds by name.
pub fn compress<'a>(nodes: impl IntoIterator<Item = &'a NodeName>) -> String {
    let names: BTreeSet<Numbered<'_>> = nodes.into_iter().map(|node| numbered(node.as_str())).collect();
    let mut items = Vec::new();
    let mut names = names.into_iter().peekable();
    while let Some(first) = names.next() {
        let mut group = vec![first];
        let alike = |next: &Numbered<'_>| next.prefix == first.prefix && first.number.is_some();
        while let Some(next) = names.next_if(alike) {
            group.push(next);
        }
        items.push(match &group[..] {
            [only] => format!("{}{}", only.prefix, only.digits),
            _ => format!("{}[{}]", first.prefix, ranges(&group)),
        });
    }
    items.join(",")
}

/// A name, split before the number at its end. In the order of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Numbered<'a> {
    prefix: &'a str,
    number: Option<u64>,
    digits: &'a str,
}

fn numbered(name: &str) -> Numbered<'_> {
    let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[prefix.len()..];
    match number(digits) {
        Some(number) => Numbered { prefix, number: Some(number), digits },
        None => Numbered { prefix: name, number: None, digits: "" },
    }
}

/// `01-03,7` of names of one kind, by number.
fn ranges(group: &[Numbered<'_>]) -> String {
    let mut runs: Vec<(&Numbered<'_>, &Numbered<'_>)> = Vec::new();
    for name in group {
        match runs.last_mut() {
            Some((first, last)) if follows(first, last, name) => *last = name,
            _ => runs.push((name, name)),
        }
    }
    let text = |(first, last): &(&Numbered<'_>, &Numbered<'_>)| {
        if first == last { first.digits.to_owned() } else { format!("{}-{}", first.digits, last.digits) }
    };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Whether a name is the one after `last` in a range that begins with `first`.
fn follows(first: &Numbered<'_>, last: &Numbered<'_>, name: &Numbered<'_>) -> bool {
    let width = first.digits.len();
    let next = last.number.and_then(|number| number.checked_add(1));
    next == name.number && next.is_some_and(|next| format!("{next:0width$}") == name.digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let nodes = expand(text).unwrap();
        let names: Vec<_> = nodes.iter().map(NodeName::as_str).collect();
        assert_eq!(names.join(" "), expect, "{text}");
    }

    #[test]
    fn lists() {
        check("", "");
        check("a1", "a1");
        check("node[01-03,7]", "node01 node02 node03 node7");
        check("a[2-3],b,c[1]-ib", "a2 a3 b c1-ib");
        check("n[9-11]", "n9 n10 n11");
        check("n[099-100]", "n099 n100");
        check("r[0-1]n[1-2]", "r0n1 r0n2 r1n1 r1n2");
        check("[1-2]", "1 2");
    }

    #[track_caller]
    fn check_error(text: &str, expect: &str) {
        assert_eq!(expand(text).unwrap_err().to_string(), expect);
    }

    #[test]
    fn what_is_no_list() {
        for text in ["a[1", "a]1", "a[[1]]", "a[1]]", "["] {
            check_error(text, &format!("brackets do not match in the list of nodes {text:?}"));
        }
        check_error("a[]", "\"\" is not a range of node numbers");
        check_error("a[1,,2]", "\"\" is not a range of node numbers");
        check_error("a[x]", "\"x\" is not a range of node numbers");
        check_error("a[2-1]", "\"2-1\" is not a range of node numbers");
        check_error("a[1-2-3]", "\"1-2-3\" is not a range of node numbers");
        check_error("a[1-9999999999999999999]", "\"1-9999999999999999999\" is not a range of node numbers");
        check_error("a,,b", "\"\" is not the name of a node");
        check_error("None assigned", "\"None assigned\" is not the name of a node");
    }

    #[test]
    fn absurd_lists_take_no_memory() {
        for text in ["a[1-999999999999999999]", "a[1-99999]b[1-99999]c[1-99999]", "a[1-60000],b[1-60000]"] {
            check_error(text, "the list stands for more than 100000 nodes");
        }
        assert_eq!(expand("a[1-100000]").map(|nodes| nodes.len()), Ok(MOST_NODES));
    }

    #[track_caller]
    fn check_compressed(names: &str, expect: &str) {
        let nodes: Vec<NodeName> = names.split_whitespace().map(|name| name.parse().unwrap()).collect();
        assert_eq!(compress(&nodes), expect);
    }

    #[test]
    fn short_lists() {
        check_compressed("", "");
        check_compressed("a1", "a1");
        check_compressed("node7 node03 node01 node02 node01", "node[01-03,7]");
        check_compressed("n9 n10 n11", "n[9-11]");
        check_compressed("n1 n01", "n[01,1]");
        check_compressed("a b2 b1", "a,b[1-2]");
        check_compressed("c1-ib c2-ib", "c1-ib,c2-ib");
        check_compressed("x99999999999999999999", "x99999999999999999999");
        check_compressed("1 2 n n0", "[1-2],n,n0");
    }
}
