//! Layer names and paths, as `LayersPath` shows them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, RwLock};

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

/// A path by number: flows hold two bytes instead of a string.
///
/// Paths come from packets, so their number is bounded here: after 65,535 different ones (real
/// traffic has some hundred) all further ones share the number of the empty path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathId(u16);

/// A path with its texts.
#[derive(Clone, Debug)]
pub struct PathText {
    /// The layers.
    pub path: LayersPath,
    /// `Ethernet/IPv4/TCP`.
    pub text: Arc<str>,
    /// The innermost layer's name.
    pub application: Arc<str>,
}

impl PathText {
    fn new(path: LayersPath) -> Self {
        let application = path.last().map_or("", Layer::name);
        Self {
            path,
            text: Arc::from(path.text()),
            application: Arc::from(application),
        }
    }
}

struct Interner {
    paths: Vec<PathText>,
    numbers: std::collections::HashMap<LayersPath, u16>,
}

static INTERNER: LazyLock<RwLock<Interner>> = LazyLock::new(|| {
    let empty = LayersPath::default();
    RwLock::new(Interner {
        paths: vec![PathText::new(empty)],
        numbers: std::iter::once((empty, 0)).collect(),
    })
});

impl PathId {
    /// The number of `path`.
    #[must_use]
    pub fn of(path: LayersPath) -> Self {
        let read = INTERNER.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(number) = read.numbers.get(&path) {
            return Self(*number);
        }
        drop(read);
        let mut write = INTERNER
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(number) = write.numbers.get(&path) {
            return Self(*number);
        }
        let Ok(number) = u16::try_from(write.paths.len()) else {
            return Self(0);
        };
        write.paths.push(PathText::new(path));
        write.numbers.insert(path, number);
        if matches!(path.last(), Some(Layer::Arp | Layer::Dns)) {
            SHORT_LIVED[usize::from(number) / 64].fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
        Self(number)
    }

    /// The path and its texts.
    #[must_use]
    pub fn resolve(self) -> PathText {
        let read = INTERNER.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        read.paths
            .get(usize::from(self.0))
            .map_or_else(|| PathText::new(LayersPath::default()), Clone::clone)
    }
}

impl PathId {
    /// True for ARP and DNS, whose conversations end after a short silence.
    #[must_use]
    pub fn is_short_lived(self) -> bool {
        // Most flows share few numbers; the answer is kept beside them without a lock.
        let word = SHORT_LIVED[usize::from(self.0) / 64].load(Ordering::Relaxed);
        word >> (self.0 % 64) & 1 == 1
    }
}

/// One bit for each path number.
static SHORT_LIVED: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];
