//! Doing something inside a network namespace: a socket stays in the namespace that it was made in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, fstatfs, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// `NSFS_MAGIC` of `linux/magic.h`: the file system that namespaces are files of.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// How often a file is looked at that is no namespace yet: `ip netns add` makes an empty file first and
/// puts the namespace in its place a moment later, 0.5 ms by measurement.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);

/// What `make` gives inside the namespace at `path`, or in flowtap's own if that is `None`.
///
/// Another namespace is entered by a thread that ends with the call: one that has once entered a
/// namespace must never do anything else.
///
/// # Errors
/// `NotFound` if there is no namespace at `path`, `PermissionDenied` without `CAP_SYS_ADMIN`, and those
/// of `make`.
pub(crate) fn inside<T: Send>(
    path: Option<&Path>,
    make: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let Some(path) = path else { return make() };
    let enter = || {
        let file = open_namespace(path)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        drop(file);
        make()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("enter-netns".to_owned())
            .spawn_scoped(scope, enter)?;
        let panicked = |_| Err(io::Error::other("the thread that entered the namespace panicked"));
        thread.join().unwrap_or_else(panicked)
    })
}

/// The namespace at `path`, once it is one.
fn open_namespace(path: &Path) -> io::Result<OwnedFd> {
    for _ in 0..TRIES {
        // NONBLOCK, for a pipe in its place would wait for its writer.
        let file = open(
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
        )?;
        if u64::try_from(fstatfs(&file)?.f_type) == Ok(NSFS_MAGIC) {
            return Ok(file);
        }
        std::thread::sleep(PAUSE);
    }
    let text = format!("{} is no network namespace", path.display());
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_are_entered() {
        let refused = inside(Some(Path::new("/proc/self/status")), || Ok(())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        let missing = inside(Some(Path::new("/nonexistent/blue")), || Ok(())).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(inside(None, || Ok(7)).unwrap(), 7);
    }
}
