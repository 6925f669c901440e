//! Live captures of interfaces that the tests make, beside `tcpdump` on the same. They need root.

mod early;
mod equality;
mod frames;
mod lab;
mod life;
mod overload;
mod record;
mod tcpdump;
mod tunnel;
