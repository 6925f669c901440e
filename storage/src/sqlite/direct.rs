//! Files that are written past the page cache.
//!
//! Of what kept packets cost, copying them into the page cache was the greater half; and what is rarely read took its
//! place from what is read all the time. With `O_DIRECT` (open(2)) the disk takes them from where they are. It wants
//! memory, offset and length in whole blocks, so everything is written in whole pages.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flowtap_flow::kept::{PAGE, PageBytes};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Slices that one call writes (`IOV_MAX`, limits.h).
const MOST_SLICES: usize = 1024;

/// A file whose content is in whole pages.
#[derive(Debug)]
pub(super) struct DirectFile(File);

/// Bytes that are written for a piece of `length` bytes.
pub(super) fn padded(length: u64) -> u64 {
    length.next_multiple_of(PAGE as u64)
}

impl DirectFile {
    /// Opens the file for writing, and makes it if there is none. On a file system that knows no `O_DIRECT`, what is
    /// written goes the ordinary way.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let open = |flags: OFlags| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            options.custom_flags(flags.bits().cast_signed()).open(path)
        };
        match open(OFlags::DIRECT) {
            Err(error) if error.kind() == ErrorKind::InvalidInput => open(OFlags::empty()),
            opened => opened,
        }
        .map(Self)
    }

    /// Writes `pieces` one after the other from `offset` on, each filled up with zeros to [`padded`]. They must begin
    /// at a page of memory, and `offset` at one of the file, lest they go the ordinary way.
    pub(super) fn write_all_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut tails = PageBytes::default();
        tails.reserve(pieces.len() * PAGE);
        for piece in pieces {
            let (_, tail) = piece.as_chunks::<PAGE>();
            if !tail.is_empty() {
                tails.extend_from_slice(tail);
                tails.extend_from_slice(&[0; PAGE][tail.len()..]);
            }
        }
        let (mut tails, _) = tails.as_slice().as_chunks::<PAGE>();
        let mut slices = Vec::with_capacity(pieces.len() * 2);
        for piece in pieces {
            let (pages, tail) = piece.as_chunks::<PAGE>();
            if !pages.is_empty() {
                slices.push(IoSlice::new(pages.as_flattened()));
            }
            if !tail.is_empty()
                && let Some((page, others)) = tails.split_first()
            {
                slices.push(IoSlice::new(page));
                tails = others;
            }
        }
        self.write_slices(&mut slices, offset)
    }

    fn write_slices(&self, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        while !slices.is_empty() {
            let next = &slices[..slices.len().min(MOST_SLICES)];
            match rustix::io::pwritev(&self.0, next, offset).map_err(io::Error::from) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::InvalidInput && self.is_direct()? => {
                    // A disk with blocks of more than a page.
                    self.go_the_ordinary_way()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_direct(&self) -> io::Result<bool> {
        Ok(fcntl_getfl(&self.0)?.contains(OFlags::DIRECT))
    }

    fn go_the_ordinary_way(&self) -> io::Result<()> {
        let flags = fcntl_getfl(&self.0)?;
        Ok(fcntl_setfl(&self.0, flags - OFlags::DIRECT)?)
    }

    /// Cuts the file to `length` bytes.
    pub(super) fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    /// Makes durable what was written.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(lengths: &[usize]) -> Vec<PageBytes> {
        let page = |(number, length): (usize, &usize)| {
            let mut bytes = PageBytes::default();
            bytes.extend_from_slice(&vec![u8::try_from(number % 255 + 1).unwrap_or(1); *length]);
            bytes
        };
        lengths.iter().enumerate().map(page).collect()
    }

    /// What [`DirectFile::write_all_at`] shall leave in a file that was empty.
    fn expected(pieces: &[&[u8]], offset: usize) -> Vec<u8> {
        let mut expected = vec![0; offset];
        for piece in pieces {
            expected.extend_from_slice(piece);
            expected.resize(offset + (expected.len() - offset).next_multiple_of(PAGE), 0);
        }
        expected
    }

    fn written(pieces: &[&[u8]], offset: usize) -> (DirectFile, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = DirectFile::open(&path).unwrap();
        file.write_all_at(pieces, offset as u64).unwrap();
        file.sync_data().unwrap();
        (file, std::fs::read(&path).unwrap())
    }

    #[test]
    fn pieces_are_written_in_whole_pages() {
        let lengths = [1, PAGE, 0, 3 * PAGE + 5, PAGE - 1, 70_000];
        let pages = pages(&lengths);
        let pieces: Vec<_> = pages.iter().map(PageBytes::as_slice).collect();
        assert_eq!(written(&pieces, 2 * PAGE).1, expected(&pieces, 2 * PAGE));
        let bytes: u64 = lengths.iter().map(|length| padded(*length as u64)).sum();
        assert_eq!(bytes, expected(&pieces, 0).len() as u64);
    }

    #[test]
    fn more_pieces_than_one_call_takes() {
        let pages = pages(&[PAGE + 1; MOST_SLICES]);
        let pieces: Vec<_> = pages.iter().map(PageBytes::as_slice).collect();
        assert!(written(&pieces, 0).1 == expected(&pieces, 0));
    }

    #[test]
    fn what_cannot_go_past_the_page_cache_goes_through_it() {
        let pages = pages(&[PAGE + 7, 9]);
        let pieces: Vec<_> = pages.iter().map(PageBytes::as_slice).collect();
        let (file, content) = written(&pieces, 3);
        assert_eq!(content, expected(&pieces, 3));
        assert!(!file.is_direct().unwrap());
    }
}
