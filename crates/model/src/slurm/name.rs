//! Names of clusters, partitions and nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::hostlist::{self, HostlistError};

/// The text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of a {what}")]
pub struct ParseNameError {
    text: String,
    what: &'static str,
}

/// What no name has, since it separates names or would be taken for an option or
/// a list of nodes: white space, commas, brackets, slashes and the like.
fn is_name(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ",;:|[]()=*\"'\\/".contains(c);
    !text.is_empty() && !text.starts_with('-') && !text.contains(odd)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The name.
            pub const fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(ParseNameError { text: text.to_owned(), what: $what })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseNameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A cluster, as `--clusters` takes it.
    ClusterName,
    "cluster"
);
name!(
    /// A partition.
    PartitionName,
    "partition"
);
name!(
    /// A node, by its name in Slurm (`NodeName`, not always the name of the host).
    NodeName,
    "node"
);

/// Some nodes as Slurm prints them: `node[01-03,7]`. Empty while a job has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeList(Box<str>);

impl NodeList {
    /// The list of this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The list of these nodes, each once.
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a NodeName>) -> Self {
        Self(hostlist::compress(nodes).into())
    }

    /// Whether there is no node in it.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its text.
    pub const fn as_str(&self) -> &str {
        &self.0
    }

    /// The nodes, in the order of the text.
    ///
    /// # Errors
    /// When the text is not a list of nodes, or one of absurdly many.
    pub fn expand(&self) -> Result<Vec<NodeName>, HostlistError> {
        hostlist::expand(&self.0)
    }
}

impl fmt::Display for NodeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in ["a", "gpu-long_1", "node001.example.org", "ä", "0"] {
            assert_eq!(text.parse::<PartitionName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_name() {
        for text in
            ["", " ", "a b", "a,b", "a[1-2]", "a;b", "-n", "a\n", "a\u{1f}", "a*", "(null)", "/a", "a=b"]
        {
            assert!(text.parse::<NodeName>().is_err(), "{text:?}");
        }
        let error = "a b".parse::<ClusterName>().unwrap_err();
        assert_eq!(error.to_string(), "\"a b\" is not the name of a cluster");
    }

    #[test]
    fn a_list_is_kept_as_it_was() {
        assert!(NodeList::default().is_empty());
        let list = NodeList::new("n[1-2]");
        assert_eq!((list.as_str(), list.expand().unwrap().len()), ("n[1-2]", 2));
        assert_eq!(NodeList::of(&list.expand().unwrap()), list);
    }
}
