//! The graph of hosts, interfaces and sFlow agents.
