//! Network namespaces: telling them apart, and doing something inside one. A socket stays in the namespace
//! that it was made in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, fstatfs, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// `NSFS_MAGIC` of `linux/magic.h`: the file system that namespaces are files of.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Tells a namespace from all others that exist at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId {
    /// The device of the namespaces' file system; one per host.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl NamespaceId {
    /// The namespace that this thread is in.
    ///
    /// # Errors
    /// That `/proc` is not mounted.
    pub fn own() -> io::Result<Self> {
        let not_mounted = || io::Error::other("/proc/thread-self/ns/net is no namespace: is /proc mounted?");
        Self::at(Path::new("/proc/thread-self/ns/net"))?.ok_or_else(not_mounted)
    }

    /// The namespace that `path` leads to. `None` if that is a file of another kind: `ip netns add` makes
    /// an empty file first, and puts the namespace in its place a moment later.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        Self::of(&open_namespace(path)?)
    }

    /// The namespace that an open file is.
    ///
    /// # Errors
    /// Those of asking about the file.
    pub fn of(file: &OwnedFd) -> io::Result<Option<Self>> {
        if u64::try_from(fstatfs(file)?.f_type) != Ok(NSFS_MAGIC) {
            return Ok(None);
        }
        let status = fstat(file)?;
        Ok(Some(Self {
            device: status.st_dev,
            inode: status.st_ino,
        }))
    }
}

/// The file of a namespace. While it is open the namespace stays alive, so it is closed at once.
///
/// # Errors
/// Those of opening the file.
pub fn open_namespace(path: &Path) -> io::Result<OwnedFd> {
    // NONBLOCK, for a directory of namespaces may hold anything, and a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(open(path, flags, Mode::empty())?)
}

/// What `make` gives inside the namespace `id`, which is at `path`.
///
/// It runs in a thread of its own that ends with it: a thread that has once entered a namespace must
/// never do anything else.
///
/// # Errors
/// `PermissionDenied` without `CAP_SYS_ADMIN`, `NotFound` if there is another namespace or nothing at
/// `path`, and those of `make`.
pub fn inside<T: Send>(
    path: &Path,
    id: NamespaceId,
    make: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let open = || {
        let file = open_namespace(path)?;
        // A process that ended may have left its number to another.
        if NamespaceId::of(&file)? != Some(id) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "another namespace is there now",
            ));
        }
        Ok(file)
    };
    enter(open, make)
}

/// What `make` gives inside the namespace whose file `open` opens; both run in a thread that ends with the
/// call.
///
/// # Errors
/// `PermissionDenied` without `CAP_SYS_ADMIN`, and those of `open` and `make`.
pub fn enter<T: Send>(
    open: impl FnOnce() -> io::Result<OwnedFd> + Send,
    make: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let entered = || {
        let file = open()?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        drop(file);
        make()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("enter-netns".to_owned())
            .spawn_scoped(scope, entered)?;
        let panicked = |_| Err(io::Error::other("the thread that entered the namespace panicked"));
        thread.join().unwrap_or_else(panicked)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_are_namespaces() {
        let own = NamespaceId::own().unwrap();
        assert_eq!(
            NamespaceId::at(Path::new("/proc/self/ns/net")).unwrap(),
            Some(own)
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(NamespaceId::at(file.path()).unwrap(), None);
        let missing = NamespaceId::at(Path::new("/nonexistent/blue")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn another_namespace_in_its_place_is_not_entered() {
        let other = NamespaceId { device: 0, inode: 0 };
        let refused = inside(Path::new("/proc/self/ns/net"), other, || Ok(())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
