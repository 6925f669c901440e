//! Parts of an interface that few have: what it is in a bond, its virtual functions.

use serde_json::{Value, json};

use super::numbers::*;
use super::wire::{Attributes, own_address, u8_at, u16_at, u32_at};

/// A port of a bond.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BondSlave {
    state: u8,
    mii_status: u8,
    link_failures: u32,
    permanent_mac: Option<String>,
    queue: u16,
    aggregator: u16,
    actor_state: u8,
    partner_state: u16,
}

impl BondSlave {
    pub(super) fn parse(value: &[u8]) -> Self {
        let mut slave = Self::default();
        for (kind, value) in Attributes::of(value) {
            match kind {
                IFLA_BOND_SLAVE_STATE => slave.state = u8_at(value, 0).unwrap_or_default(),
                IFLA_BOND_SLAVE_MII_STATUS => slave.mii_status = u8_at(value, 0).unwrap_or_default(),
                IFLA_BOND_SLAVE_LINK_FAILURE_COUNT => {
                    slave.link_failures = u32_at(value, 0).unwrap_or_default();
                }
                IFLA_BOND_SLAVE_PERM_HWADDR => slave.permanent_mac = own_address(value),
                IFLA_BOND_SLAVE_QUEUE_ID => slave.queue = u16_at(value, 0).unwrap_or_default(),
                IFLA_BOND_SLAVE_AD_AGGREGATOR_ID => slave.aggregator = u16_at(value, 0).unwrap_or_default(),
                IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE => {
                    slave.actor_state = u8_at(value, 0).unwrap_or_default();
                }
                IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE => {
                    slave.partner_state = u16_at(value, 0).unwrap_or_default();
                }
                _ => {}
            }
        }
        slave
    }

    /// `BondSlave` of the metadata.
    pub(super) fn to_json(&self) -> Value {
        let mut slave = json!({
            "Type": "bond",
            "State": if self.state == 0 { "ACTIVE" } else { "BACKUP" },
            "MiiStatus": match self.mii_status {
                0 => "UP",
                1 => "GOING_DOWN",
                2 => "DOWN",
                _ => "GOING_BACK",
            },
            "LinkFailureCount": self.link_failures,
            "QueueId": self.queue,
            "AggregatorId": self.aggregator,
            "AdActorOperPortState": self.actor_state,
            "AdPartnerOperPortState": self.partner_state,
        });
        if let Some(mac) = &self.permanent_mac {
            slave["PermMAC"] = mac.as_str().into();
        }
        slave
    }
}

/// The name of a bond's mode, as `ip link` prints it.
pub(super) fn bond_mode(mode: u8) -> &'static str {
    match mode {
        0 => "balance-rr",
        1 => "active-backup",
        2 => "balance-xor",
        3 => "broadcast",
        4 => "802.3ad",
        5 => "balance-tlb",
        6 => "balance-alb",
        _ => "unknown",
    }
}

/// A virtual function (SR-IOV) of a network card.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Function {
    number: u32,
    mac: Option<String>,
    vlan: u32,
    priority: u32,
    /// Megabits a second; 0 is no limit.
    rate: u32,
    spoof_check: bool,
    link_state: u32,
}

impl Function {
    /// Each of the structures in it begins with the function's number.
    pub(super) fn parse_list(value: &[u8]) -> Vec<Self> {
        let infos = Attributes::of(value).filter(|(kind, _)| *kind == IFLA_VF_INFO);
        infos.map(|(_, info)| Self::parse(info)).collect()
    }

    fn parse(value: &[u8]) -> Self {
        let mut function = Self::default();
        for (kind, value) in Attributes::of(value) {
            let second = u32_at(value, 4).unwrap_or_default();
            match kind {
                IFLA_VF_MAC => {
                    function.number = u32_at(value, 0).unwrap_or_default();
                    // 32 bytes are there for the address; those of an Ethernet are the first six.
                    function.mac = value.get(4..10).and_then(own_address);
                }
                IFLA_VF_VLAN => {
                    function.vlan = second;
                    function.priority = u32_at(value, 8).unwrap_or_default();
                }
                IFLA_VF_TX_RATE => function.rate = second,
                IFLA_VF_SPOOFCHK => function.spoof_check = second == 1,
                IFLA_VF_LINK_STATE => function.link_state = second,
                _ => {}
            }
        }
        function
    }

    /// An entry of `Vfs` of the metadata.
    pub(super) fn to_json(&self) -> Value {
        let mut function = json!({
            "ID": self.number,
            "LinkState": self.link_state,
            "Qos": self.priority,
            "Spoofchk": self.spoof_check,
            "TxRate": self.rate,
            "Vlan": self.vlan,
        });
        if let Some(mac) = &self.mac {
            function["MAC"] = mac.as_str().into();
        }
        function
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::netlink::wire::{Messages, Request};

    fn attributes(add: impl FnOnce(Request) -> Request) -> Vec<u8> {
        let bytes = add(Request::new(0, 0)).sealed(0);
        Messages(&bytes).next().unwrap().body.to_vec()
    }

    #[test]
    fn virtual_functions_are_listed_with_what_is_set() {
        let structure =
            |fields: &[u32]| -> Vec<u8> { fields.iter().flat_map(|field| field.to_ne_bytes()).collect() };
        let mut mac = structure(&[1]);
        mac.extend([2, 0, 0, 0, 0, 9]);
        mac.resize(36, 0);
        let bytes = attributes(|list| {
            list.nested(IFLA_VF_INFO, |info| {
                info.attribute(IFLA_VF_MAC, &mac)
                    .attribute(IFLA_VF_VLAN, &structure(&[1, 100, 3]))
                    .attribute(IFLA_VF_TX_RATE, &structure(&[1, 1000]))
                    .attribute(IFLA_VF_SPOOFCHK, &structure(&[1, 1]))
                    .attribute(IFLA_VF_LINK_STATE, &structure(&[1, 2]))
            })
        });
        let functions = Function::parse_list(&bytes);
        assert_eq!(
            functions[0].to_json(),
            json!({"ID": 1, "MAC": "02:00:00:00:00:09", "Vlan": 100, "Qos": 3, "TxRate": 1000,
                   "Spoofchk": true, "LinkState": 2})
        );
        assert_eq!(functions.len(), 1);
    }

    #[test]
    fn a_slave_says_how_it_stands_in_its_bond() {
        let bytes = attributes(|slave| {
            slave
                .attribute(IFLA_BOND_SLAVE_STATE, &[1])
                .attribute(IFLA_BOND_SLAVE_MII_STATUS, &[2])
                .attribute(IFLA_BOND_SLAVE_LINK_FAILURE_COUNT, &7_u32.to_ne_bytes())
                .attribute(IFLA_BOND_SLAVE_PERM_HWADDR, &[2, 0, 0, 0, 0, 1])
        });
        let slave = BondSlave::parse(&bytes).to_json();
        assert_eq!(
            (
                &slave["State"],
                &slave["MiiStatus"],
                &slave["LinkFailureCount"],
                &slave["PermMAC"]
            ),
            (
                &json!("BACKUP"),
                &json!("DOWN"),
                &json!(7),
                &json!("02:00:00:00:00:01")
            )
        );
    }
}
