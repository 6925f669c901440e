//! Which format a stream has, by its first bytes.

/// The order of the bytes in a file's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endian {
    /// Most significant byte first.
    Big,
    /// Least significant byte first.
    Little,
}

impl Endian {
    /// The 16 bits at `at`, zero beyond the end: callers check lengths first.
    #[inline]
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let field = bytes
            .get(at..)
            .and_then(|b| b.first_chunk())
            .copied()
            .unwrap_or_default();
        match self {
            Self::Big => u16::from_be_bytes(field),
            Self::Little => u16::from_le_bytes(field),
        }
    }

    /// The 32 bits at `at`, zero beyond the end: callers check lengths first.
    #[inline]
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let field = bytes
            .get(at..)
            .and_then(|b| b.first_chunk())
            .copied()
            .unwrap_or_default();
        match self {
            Self::Big => u32::from_be_bytes(field),
            Self::Little => u32::from_le_bytes(field),
        }
    }
}

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// pcap, magic a1b2c3d4 (µs) or a1b23c4d (ns).
    Pcap(Endian),
    /// pcap with 24-byte record headers, magic a1b2cd34.
    ModifiedPcap(Endian),
    /// pcapng; its byte order stands in its first block.
    PcapNg,
    /// gzip with deflate.
    Gzip,
}

/// What the first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// This format.
    Known(Format),
    /// More bytes are needed to tell.
    TooShort,
    /// No format that is read.
    Unknown,
}

const MAGICS: [(&[u8], Format); 8] = [
    (&[0xd4, 0xc3, 0xb2, 0xa1], Format::Pcap(Endian::Little)),
    (&[0xa1, 0xb2, 0xc3, 0xd4], Format::Pcap(Endian::Big)),
    (&[0x4d, 0x3c, 0xb2, 0xa1], Format::Pcap(Endian::Little)),
    (&[0xa1, 0xb2, 0x3c, 0x4d], Format::Pcap(Endian::Big)),
    (&[0x34, 0xcd, 0xb2, 0xa1], Format::ModifiedPcap(Endian::Little)),
    (&[0xa1, 0xb2, 0xcd, 0x34], Format::ModifiedPcap(Endian::Big)),
    (&[0x0a, 0x0d, 0x0d, 0x0a], Format::PcapNg),
    (&[0x1f, 0x8b, 0x08], Format::Gzip),
];

/// Looks at the first bytes of a stream.
pub(super) fn sniff(bytes: &[u8]) -> Sniffed {
    for (magic, format) in MAGICS {
        if bytes.starts_with(magic) {
            return Sniffed::Known(format);
        }
    }
    if MAGICS.iter().any(|(magic, _)| magic.starts_with(bytes)) {
        Sniffed::TooShort
    } else {
        Sniffed::Unknown
    }
}

/// Bytes that [`begins_file`] looks at.
pub(super) const FILE_EVIDENCE: usize = 16;

/// True if `bytes`, [`FILE_EVIDENCE`] or more, which make no sense as a record of the file they stand in, begin
/// another file. A pcap file has no end mark, so this is how files sent one after another are told
/// apart; more than the magic is asked for, since a record begins with a time, which may be any.
pub(super) fn begins_file(bytes: &[u8]) -> bool {
    match sniff(bytes) {
        Sniffed::Known(Format::Pcap(endian) | Format::ModifiedPcap(endian)) => {
            endian.u16(bytes, 4) == 2 && endian.u16(bytes, 6) <= 4 && endian.u32(bytes, 12) == 0
        }
        Sniffed::Known(Format::PcapNg) => section_endian(bytes).is_some(),
        // RFC 1952 §2.3.1: the upper bits of the flags are zero.
        Sniffed::Known(Format::Gzip) => bytes.get(3).is_some_and(|flags| flags & 0xe0 == 0),
        Sniffed::TooShort | Sniffed::Unknown => false,
    }
}

/// The byte order of a pcapng section, from its byte-order magic.
pub(super) fn section_endian(block: &[u8]) -> Option<Endian> {
    match block.get(8..12)? {
        [0x1a, 0x2b, 0x3c, 0x4d] => Some(Endian::Big),
        [0x4d, 0x3c, 0x2b, 0x1a] => Some(Endian::Little),
        _ => None,
    }
}

/// Says what `bytes` are, for the sender of something else.
pub(super) fn describe(bytes: &[u8]) -> String {
    const OTHERS: [(&[u8], &str); 10] = [
        (
            &[0x28, 0xb5, 0x2f, 0xfd],
            "zstd data (decompress it first: zstd -dc FILE)",
        ),
        (
            &[0xfd, b'7', b'z', b'X', b'Z'],
            "xz data (decompress it first: xz -dc FILE)",
        ),
        (b"BZh", "bzip2 data (decompress it first: bzip2 -dc FILE)"),
        (
            &[0x04, 0x22, 0x4d, 0x18],
            "lz4 data (decompress it first: lz4 -dc FILE)",
        ),
        (b"PK\x03\x04", "a zip archive (send the files in it)"),
        (
            b"snoop\0\0\0",
            "a snoop file (convert it first: editcap -F pcap FILE -)",
        ),
        (&[0x16, 0x03], "a TLS handshake (this port speaks plain TCP)"),
        (b"GET ", "an HTTP request"),
        (b"POST ", "an HTTP request"),
        (b"SSH-", "an SSH greeting"),
    ];
    for (magic, name) in OTHERS {
        if bytes.starts_with(magic) {
            return name.to_owned();
        }
    }
    let shown = &bytes[..bytes.len().min(8)];
    let hex: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("bytes {} (\"{}\")", hex.join(" "), shown.escape_ascii())
}
