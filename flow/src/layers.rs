//! Layer names and paths, as `LayersPath` shows them.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use dashmap::{DashMap, Entry};

use crate::text::Text;

macro_rules! layers {
    ($($variant:ident = $code:literal => $name:literal),+ $(,)?) => {
        /// One protocol layer, under the name that gopacket (and so Skydive) gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "the names are the documentation")]
        pub enum Layer { $($variant = $code),+ }

        impl Layer {
            /// The name in `LayersPath`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

layers! {
    Ethernet = 1 => "Ethernet",
    Dot1Q = 2 => "Dot1Q",
    Arp = 3 => "ARP",
    Ipv4 = 4 => "IPv4",
    Ipv6 = 5 => "IPv6",
    Fragment = 6 => "Fragment",
    Icmpv4 = 7 => "ICMPv4",
    Icmpv6 = 8 => "ICMPv6",
    Icmpv6Echo = 9 => "ICMPv6Echo",
    Icmpv6NeighborSolicitation = 10 => "ICMPv6NeighborSolicitation",
    Icmpv6NeighborAdvertisement = 11 => "ICMPv6NeighborAdvertisement",
    Icmpv6RouterSolicitation = 12 => "ICMPv6RouterSolicitation",
    Icmpv6RouterAdvertisement = 13 => "ICMPv6RouterAdvertisement",
    Icmpv6Redirect = 14 => "ICMPv6Redirect",
    Tcp = 15 => "TCP",
    Udp = 16 => "UDP",
    Sctp = 17 => "SCTP",
    Gre = 18 => "GRE",
    Vxlan = 19 => "VXLAN",
    Geneve = 20 => "Geneve",
    Mpls = 21 => "MPLS",
    Dns = 22 => "DNS",
    Dhcpv4 = 23 => "DHCPv4",
    Dhcpv6 = 24 => "DHCPv6",
    Ntp = 25 => "NTP",
    Vrrp = 26 => "VRRP",
    Tls = 27 => "TLS",
    SFlow = 28 => "SFlow",
    Igmp = 29 => "IGMP",
    Ospf = 30 => "OSPF",
    IpSecEsp = 31 => "IPSecESP",
    IpSecAh = 32 => "IPSecAH",
    UdpLite = 33 => "UDPLite",
    Ipv6HopByHop = 34 => "IPv6HopByHop",
    Ipv6Routing = 35 => "IPv6Routing",
    Ipv6Fragment = 36 => "IPv6Fragment",
    Ipv6Destination = 37 => "IPv6Destination",
    Llc = 38 => "LLC",
    Snap = 39 => "SNAP",
    Stp = 40 => "STP",
    LinkLayerDiscovery = 41 => "LinkLayerDiscovery",
    Eapol = 42 => "EAPOL",
    PppoE = 43 => "PPPoE",
    Ppp = 44 => "PPP",
    EthernetCtp = 45 => "EthernetCTP",
}

/// Up to sixteen layers of one flow's part of a packet, outermost first, one byte each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LayersPath(u128);

impl LayersPath {
    /// The most layers that a path holds; decoding stops there.
    pub const MAX: usize = 16;

    /// The path of `layers`, at most [`Self::MAX`], outermost first.
    #[must_use]
    pub(crate) const fn of(layers: &[Layer]) -> Self {
        let (mut path, mut at) = (0, 0);
        while at < layers.len() {
            path = path << 8 | layers[at] as u128;
            at += 1;
        }
        Self(path)
    }

    /// Appends a layer; false when the path is full.
    pub fn push(&mut self, layer: Layer) -> bool {
        if self.0 >> 120 != 0 {
            return false;
        }
        self.0 = self.0 << 8 | layer as u128;
        true
    }

    /// True if `layer` is the innermost.
    #[must_use]
    pub fn ends_with(self, layer: Layer) -> bool {
        self.0.to_le_bytes()[0] == layer as u8
    }

    /// The innermost layer.
    #[must_use]
    pub fn last(self) -> Option<Layer> {
        Layer::from_code(self.0.to_le_bytes()[0])
    }

    /// True if no layer could be decoded.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The layers, outermost first.
    pub fn layers(self) -> impl Iterator<Item = Layer> {
        self.0.to_be_bytes().into_iter().filter_map(Layer::from_code)
    }

    /// `Ethernet/IPv4/TCP`.
    #[must_use]
    pub fn text(self) -> String {
        self.layers().map(Layer::name).collect::<Vec<_>>().join("/")
    }
}

/// A path by number: flows hold two bytes instead of a string. Never zero, so that a place for a flow can be
/// empty without a byte more.
///
/// Paths come from packets, so their number is bounded here: after 65,535 different ones (real
/// traffic has some hundred) all further ones share the number of the empty path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathId(NonZeroU16);

impl Default for PathId {
    /// The empty path.
    fn default() -> Self {
        Self(NonZeroU16::MIN)
    }
}

/// A path with its texts.
#[derive(Clone, Debug)]
pub struct PathText {
    /// The layers.
    pub path: LayersPath,
    /// `Ethernet/IPv4/TCP`.
    pub text: Text,
    /// The innermost layer's name.
    pub application: Text,
}

impl PathText {
    fn new(path: LayersPath) -> Self {
        let application = path.last().map_or("", Layer::name);
        Self {
            path,
            text: Text::lasting(&path.text()),
            application: Text::lasting(application),
        }
    }
}

/// The numbers of paths: looked up by every reader, seldom added to.
static NUMBERS: LazyLock<DashMap<LayersPath, PathId>> = LazyLock::new(|| {
    let empty = (LayersPath::default(), PathId::default());
    std::iter::once(empty).collect()
});

/// Paths and their texts by number: asked for with each flow that goes to the store, hence without a lock.
/// Three megabytes of which only what is used is ever touched.
static TEXTS: [OnceLock<PathText>; 1 << 16] = [const { OnceLock::new() }; 1 << 16];
/// The numbers given.
static GIVEN: Mutex<u16> = Mutex::new(1);

/// What the empty path is called.
static EMPTY: LazyLock<PathText> = LazyLock::new(|| PathText::new(LayersPath::default()));

impl PathId {
    /// The number of `path`.
    #[must_use]
    pub fn of(path: LayersPath) -> Self {
        if let Some(number) = NUMBERS.get(&path) {
            return *number;
        }
        match NUMBERS.entry(path) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => Self::add(path).map(|id| *place.insert(id)).unwrap_or_default(),
        }
    }

    /// The next number for `path`, if there is one left.
    fn add(path: LayersPath) -> Option<Self> {
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        *given = given.checked_add(1)?;
        let number = NonZeroU16::new(*given)?;
        TEXTS[usize::from(number.get())].get_or_init(|| PathText::new(path));
        let id = Self(number);
        if matches!(path.last(), Some(Layer::Arp | Layer::Dns)) {
            let (word, bit) = id.short_lived();
            SHORT_LIVED[word].fetch_or(bit, Ordering::Relaxed);
        }
        Some(id)
    }

    /// The path and its texts.
    #[must_use]
    pub fn resolve(self) -> &'static PathText {
        let text = TEXTS[usize::from(self.0.get())].get();
        text.unwrap_or_else(|| &EMPTY)
    }

    /// Where [`SHORT_LIVED`] speaks of it.
    fn short_lived(self) -> (usize, u64) {
        let number = self.0.get();
        (usize::from(number) / 64, 1 << (number % 64))
    }
}

/// The numbers of paths that one reader meets, each in the one place that its layers choose: most new flows of a
/// source are of few kinds.
#[derive(Debug, Default)]
pub(crate) struct KnownPaths([(LayersPath, PathId); 16]);

impl KnownPaths {
    /// As [`PathId::of`].
    pub(crate) fn number(&mut self, path: LayersPath) -> PathId {
        // The innermost layers differ most.
        let [last, before, ..] = path.0.to_le_bytes();
        let known = &mut self.0[usize::from(last ^ before << 2) % 16];
        if known.0 != path {
            *known = (path, PathId::of(path));
        }
        known.1
    }
}

impl PathId {
    /// True for ARP and DNS, whose conversations end after a short silence.
    #[must_use]
    pub fn is_short_lived(self) -> bool {
        // Most flows share few numbers; the answer is kept beside them without a lock.
        let (word, bit) = self.short_lived();
        SHORT_LIVED[word].load(Ordering::Relaxed) & bit != 0
    }
}

/// One bit for each path number.
static SHORT_LIVED: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_knows_each_path_by_its_number() {
        let layers = [
            Layer::Ethernet,
            Layer::Dot1Q,
            Layer::Ipv4,
            Layer::Ipv6,
            Layer::Tcp,
            Layer::Udp,
        ];
        let mut known = KnownPaths::default();
        for _ in 0..2 {
            for outer in layers {
                for inner in layers {
                    let path = LayersPath::of(&[Layer::Ethernet, outer, inner]);
                    assert_eq!(known.number(path), PathId::of(path));
                    assert_eq!(known.number(path).resolve().path, path);
                    assert!(path.ends_with(inner));
                }
            }
        }
        assert_eq!(known.number(LayersPath::default()), PathId::default());
    }
}
