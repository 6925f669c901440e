//! The HTTP interface from outside: every route, every form of answer and error, over fakes of the
//! crates behind it.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod captures;
mod client;
mod common;
mod declared;
mod events;
mod flows;
mod limits;
mod ops;
mod packets;
mod publisher;
mod resources;
mod server;
mod shell;
mod subscriber;
#[path = "../../src/testing.rs"]
mod testing;
mod topology;
mod upload;
mod websocket;
