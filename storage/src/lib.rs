//! One module per store of flows and packets.
