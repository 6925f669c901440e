//! Where a page ended: a short text that clients hand back unread.

use flowtap_flow::flow::FlowId;
use flowtap_flow::timestamp::Timestamp;

use crate::page::Order;

/// What pages are ordered by, so that a page's last key says where the next begins. Keys never
/// change, so neither new flows nor growing ones shift a page.
pub(crate) trait PageKey: Sized {
    /// Tells cursors of different lists apart.
    const LIST: char;
    fn write(&self) -> String;
    fn read(parts: &[u64]) -> Option<Self>;
}

/// A flow by start, then UUID.
pub(crate) type FlowKey = (Timestamp, FlowId);
/// A raw packet by time, then flow, then number.
pub(crate) type PacketKey = (Timestamp, FlowId, u32);

impl PageKey for FlowKey {
    const LIST: char = 'f';

    fn write(&self) -> String {
        format!("{:x}.{:x}", self.0.nanos(), self.1.0)
    }

    fn read(parts: &[u64]) -> Option<Self> {
        let [time, flow] = *parts else { return None };
        Some((Timestamp::from_nanos(time.cast_signed()), FlowId(flow)))
    }
}

impl PageKey for PacketKey {
    const LIST: char = 'p';

    fn write(&self) -> String {
        format!("{:x}.{:x}.{:x}", self.0.nanos(), self.1.0, self.2)
    }

    fn read(parts: &[u64]) -> Option<Self> {
        let [time, flow, index] = *parts else { return None };
        Some((
            Timestamp::from_nanos(time.cast_signed()),
            FlowId(flow),
            u32::try_from(index).ok()?,
        ))
    }
}

fn order_letter(order: Order) -> char {
    match order {
        Order::Ascending => 'a',
        Order::Descending => 'd',
    }
}

/// Writes the cursor of the page that ended with `key`.
pub(crate) fn write<K: PageKey>(order: Order, key: &K) -> String {
    format!("{}{}.{}", K::LIST, order_letter(order), key.write())
}

/// Reads what [`write`] wrote for the same list and order.
pub(crate) fn read<K: PageKey>(order: Order, text: &str) -> Option<K> {
    let rest = text
        .strip_prefix(K::LIST)?
        .strip_prefix(order_letter(order))?
        .strip_prefix('.')?;
    let mut parts = Vec::with_capacity(3);
    for part in rest.splitn(4, '.') {
        parts.push(u64::from_str_radix(part, 16).ok()?);
    }
    K::read(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_wrote() {
        let flow = (Timestamp::from_nanos(-5), FlowId(u64::MAX));
        let text = write(Order::Descending, &flow);
        assert_eq!(read::<FlowKey>(Order::Descending, &text), Some(flow));
        assert_eq!(read::<FlowKey>(Order::Ascending, &text), None);
        assert_eq!(read::<PacketKey>(Order::Descending, &text), None);
        let packet = (Timestamp::MAX, FlowId(0), 7);
        let text = write(Order::Ascending, &packet);
        assert_eq!(read::<PacketKey>(Order::Ascending, &text), Some(packet));
    }

    #[test]
    fn garbage_is_refused() {
        for text in [
            "",
            "f",
            "fa",
            "fa.",
            "fa.1",
            "fa.1.2.3",
            "fa.1.2.3.4.5",
            "fa.x.2",
            "pa.1.2",
            "fa.-1.2",
        ] {
            assert_eq!(read::<FlowKey>(Order::Ascending, text), None, "{text}");
        }
        assert_eq!(read::<PacketKey>(Order::Ascending, "pa.1.2.100000000"), None);
    }
}
