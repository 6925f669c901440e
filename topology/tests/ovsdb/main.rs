//! OVSDB: the client against a server that misbehaves and a real one, the watcher against a real
//! database and a real switch.

mod client;
mod graph;
mod rows;
mod support;
mod switch;
mod wire;
