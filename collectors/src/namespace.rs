//! Doing something inside a network namespace: a socket stays in the namespace that it was made in.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use flowtap_topology::namespace::{self, NamespaceId, enter};

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
    enter(|| open_namespace(path), make)
}

/// The namespace at `path`, once it is one.
fn open_namespace(path: &Path) -> io::Result<OwnedFd> {
    for _ in 0..TRIES {
        let file = namespace::open_namespace(path)?;
        if NamespaceId::of(&file)?.is_some() {
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
