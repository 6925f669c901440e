//! The `flowtap` binary.
fn main() {}
