//! Directories that namespaces are named in, such as `/run/netns`, watched by inotify.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Bytes of events that are read at once.
const BUFFER: usize = 16 * 1024;

/// Watches directories, and for those that are not there yet the closest directory above them.
#[derive(Debug)]
pub(super) struct Directories {
    inotify: OwnedFd,
    wanted: Vec<PathBuf>,
    /// What each watch is for.
    watches: HashMap<i32, Watch>,
}

#[derive(Clone, Debug, PartialEq)]
enum Watch {
    /// A directory of namespaces.
    Names(PathBuf),
    /// A directory in which one of those, or what leads to it, may appear.
    Above,
}

/// What happened.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Names that came, went, or became something else.
    pub(super) names: BTreeSet<PathBuf>,
    /// Whether a directory came or went, or events were lost: [`Directories::arm`] has to look at all.
    pub(super) all: bool,
}

impl Directories {
    /// Nothing is watched before [`Directories::arm`].
    ///
    /// # Errors
    /// Those of inotify: too many instances of it.
    pub(super) fn new(wanted: Vec<PathBuf>) -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            wanted,
            watches: HashMap::new(),
        })
    }

    /// Watches whatever is there now, and lists it. What comes later is told by [`Directories::read`].
    /// Beside it the directories that can be neither watched nor waited for, with why.
    pub(super) fn arm(&mut self) -> (BTreeSet<PathBuf>, Vec<(PathBuf, io::Error)>) {
        let (mut names, mut failed) = (BTreeSet::new(), Vec::new());
        for directory in self.wanted.clone() {
            // Listed after it is watched: what comes between is seen twice.
            let is_there = self.watch(&directory).unwrap_or_else(|error| {
                failed.push((directory.clone(), error));
                // It can be looked into all the same, if not by whoever may not.
                directory.is_dir()
            });
            if is_there {
                let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
                names.extend(entries.map(|entry| entry.path()));
            }
        }
        (names, failed)
    }

    /// Returns whether the directory is there, and not another name of one that is watched already.
    fn watch(&mut self, directory: &Path) -> io::Result<bool> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        for _ in 0..3 {
            match inotify::add_watch(&self.inotify, directory, flags) {
                Ok(id) => {
                    let names = Watch::Names(directory.to_owned());
                    return Ok(match self.watches.get(&id) {
                        Some(Watch::Names(other)) => other == directory,
                        _ => {
                            self.watches.insert(id, names);
                            true
                        }
                    });
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
            let Some(above) = directory.ancestors().skip(1).find(|above| above.is_dir()) else {
                break;
            };
            let id = inotify::add_watch(&self.inotify, above, flags | WatchFlags::MASK_ADD)?;
            self.watches.entry(id).or_insert(Watch::Above);
            // It may have come before the directory above was watched.
            if !directory.is_dir() {
                break;
            }
        }
        Ok(false)
    }

    /// What happened since it was read last.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn read(&mut self) -> io::Result<Changes> {
        let mut changes = Changes::default();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(changes),
                Err(error) => return Err(error.into()),
            };
            let gone = ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changes.all = true;
            } else if event.events().intersects(gone) {
                // Moved away it would go on to be watched under its old name.
                if event.events().contains(ReadFlags::MOVE_SELF) {
                    let _ = inotify::remove_watch(&self.inotify, event.wd());
                }
                self.watches.remove(&event.wd());
                changes.all = true;
            } else {
                match (self.watches.get(&event.wd()), event.file_name()) {
                    (Some(Watch::Names(directory)), Some(name)) => {
                        changes
                            .names
                            .insert(directory.join(OsStr::from_bytes(name.to_bytes())));
                    }
                    (Some(Watch::Above), Some(name)) => {
                        let name = OsStr::from_bytes(name.to_bytes());
                        changes.all |= self
                            .wanted
                            .iter()
                            .any(|path| path.iter().any(|part| part == name));
                    }
                    _ => {}
                }
            }
        }
    }
}

impl AsFd for Directories {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) -> PathBuf {
        fs::write(path, "").unwrap();
        path.to_owned()
    }

    #[test]
    fn what_comes_and_goes_is_told() {
        let root = tempfile::tempdir().unwrap();
        let old = file(&root.path().join("old"));
        let mut directories = Directories::new(vec![root.path().to_owned()]).unwrap();
        assert_eq!(directories.arm().0, [old.clone()].into());
        let new = file(&root.path().join("new"));
        fs::remove_file(&old).unwrap();
        let changes = directories.read().unwrap();
        assert_eq!(changes.names, [old, new].into());
        assert!(!changes.all);
        assert_eq!(directories.read().unwrap(), Changes::default());
    }

    #[test]
    fn a_directory_may_come_later_and_go_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("docker/netns");
        let mut directories = Directories::new(vec![directory.clone()]).unwrap();
        for _ in 0..2 {
            assert!(directories.arm().0.is_empty());
            fs::create_dir(root.path().join("docker")).unwrap();
            assert!(directories.read().unwrap().all);
            assert!(directories.arm().0.is_empty());
            fs::create_dir(&directory).unwrap();
            assert!(directories.read().unwrap().all);
            let early = file(&directory.join("early"));
            assert_eq!(directories.arm().0, [early].into());
            let late = file(&directory.join("late"));
            assert_eq!(directories.read().unwrap().names, [late].into());
            fs::remove_dir_all(root.path().join("docker")).unwrap();
            assert!(directories.read().unwrap().all);
        }
    }

    #[test]
    fn two_names_of_one_directory_are_one() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let entry = file(&real.join("blue"));
        let mut directories = Directories::new(vec![real, link]).unwrap();
        assert_eq!(directories.arm().0, [entry].into());
    }

    #[test]
    fn other_files_beside_the_way_to_a_directory_are_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut directories = Directories::new(vec![root.path().join("netns")]).unwrap();
        directories.arm();
        file(&root.path().join("some.pid"));
        assert_eq!(directories.read().unwrap(), Changes::default());
    }
}
