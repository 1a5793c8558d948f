//! The `gpusched` command.
fn main() {}
