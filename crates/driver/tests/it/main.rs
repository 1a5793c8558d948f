//! The keeper and its host with real processes.

#[cfg(test)]
mod asked;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod setting;
