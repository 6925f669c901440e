//! A client for OVSDB, the database that Open vSwitch is configured by (RFC 7047).
//!
//! It knows the protocol and no table of any switch: whoever reads or writes rows names tables and
//! columns. Three ways to use it:
//!
//! - [`Follower`]: the rows of some tables, and every change to them, across restarts of the server.
//!   It reconnects by itself, and tells what is different afterwards, not everything anew.
//! - [`Connection`]: one connection, for requests; above all [`Connection::transact`], which writes.
//! - [`Datum`], [`Row`]: what is in a column and in a row, without JSON.
//!
//! What the server sends is never trusted: messages, nesting, requests under way and silence are all
//! bounded by [`Limits`], and what is wrong ends the connection with an error that says so.
//!
//! ```no_run
//! use flowtap_topology::ovsdb::{Address, Condition, Connection, Limits, Row, Transaction};
//!
//! # async fn example() -> Result<(), flowtap_topology::ovsdb::OvsdbError> {
//! let address: Address = "unix:/run/openvswitch/db.sock".parse()?;
//! let (connection, _notifications) = Connection::open(&address, &Limits::default()).await?;
//! let port = Transaction::new("Open_vSwitch")
//!     .update("Interface", [Condition::equal("name", "tap0")], Row::new().with("mtu_request", 1400))
//!     .comment("flowtap: a smaller MTU");
//! connection.transact(&port).await?;
//! # Ok(())
//! # }
//! ```

mod address;
mod backoff;
mod connection;
mod datum;
mod driver;
mod error;
mod follow;
mod frame;
mod replica;
mod result;
mod row;
mod schema;
mod transact;
mod update;
mod wire;

pub use address::Address;
pub use connection::{Connection, Limits, Notifications};
pub use datum::{Atom, Datum};
pub use error::OvsdbError;
pub use follow::{Follow, FollowEvent, Follower};
pub use replica::RowChange;
pub use result::OperationResult;
pub use row::Row;
pub use transact::{Condition, Mutation, Transaction, WaitUntil};
