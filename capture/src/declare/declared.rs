//! A capture that was accepted.

use std::sync::Arc;

use flowtap_collectors::CaptureType;
use flowtap_flow::point::{ExtraLayers, LayerKeyMode, PointOptions};
use flowtap_flow::text::Text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expression::Expression;
use super::new::NewCapture;
use super::rules::check;
use crate::document::Capture;

/// A capture that was accepted, with everything that was left out filled in.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) id: Arc<str>,
    /// When, ms since the Unix epoch.
    pub(crate) created: i64,
    /// When it shall be deleted, ms since the Unix epoch.
    pub(crate) expires: Option<i64>,
    /// What its nodes are picked by. An error where this version refuses what another accepted.
    pub(crate) expression: Result<Expression, String>,
    /// `None`: by node.
    pub(crate) capture_type: Option<CaptureType>,
    layer_key_mode: LayerKeyMode,
    /// As it was declared, nothing left out.
    pub(crate) new: NewCapture,
}

/// A declared capture as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    #[serde(flatten)]
    new: NewCapture,
    create_time: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
}

impl Declared {
    /// Takes `new`, with `defaults` for what it leaves out.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn accept(
        id: Arc<str>,
        mut new: NewCapture,
        created: i64,
        expires: Option<i64>,
        defaults: &PointOptions,
    ) -> Result<Self, String> {
        let checked = check(&new)?;
        let sees_packets = checked.capture_type.is_none_or(super::capability::sees_packets);
        let limit = if sees_packets {
            raw_packet_limit(defaults)
        } else {
            0
        };
        new.raw_packet_limit.get_or_insert(limit);
        let tcp = sees_packets && defaults.extra_tcp_metric;
        new.extra_tcp_metric.get_or_insert(tcp);
        new.ip_defrag.get_or_insert(defaults.ip_defrag);
        new.reassemble_tcp.get_or_insert(defaults.reassemble_tcp);
        new.extra_layers.get_or_insert(defaults.extra_layers.0);
        let layer_key_mode = checked.layer_key_mode.unwrap_or(defaults.layer_key_mode);
        new.layer_key_mode = key_mode(layer_key_mode).to_owned();
        Ok(Self {
            id,
            created,
            expires,
            expression: Ok(checked.expression),
            capture_type: checked.capture_type,
            layer_key_mode,
            new,
        })
    }

    /// A capture that was kept by another run of flowtap. What this version refuses is listed all the
    /// same, with the reason, so that nobody wonders where it went.
    ///
    /// # Errors
    /// That it is no capture at all.
    pub(crate) fn restore(id: &str, kept: Value, defaults: &PointOptions) -> Result<Self, String> {
        let Kept {
            new,
            create_time,
            expires,
        } = serde_json::from_value(kept).map_err(|error| error.to_string())?;
        let id: Arc<str> = id.into();
        let accepted = Self::accept(Arc::clone(&id), new.clone(), create_time, expires, defaults);
        Ok(accepted.unwrap_or_else(|reason| Self {
            id,
            created: create_time,
            expires,
            expression: Err(reason),
            capture_type: new.r#type.parse().ok(),
            layer_key_mode: defaults.layer_key_mode,
            new,
        }))
    }

    /// What [`Declared::restore`] takes.
    ///
    /// # Errors
    /// None that is known: all of it is texts and numbers.
    pub(crate) fn kept(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(Kept {
            new: self.new.clone(),
            create_time: self.created,
            expires: self.expires,
        })
    }

    /// How its packets become flows where they are read as `capture_type`.
    pub(crate) fn point_options(&self, capture_type: CaptureType, defaults: &PointOptions) -> PointOptions {
        let limit = self.new.raw_packet_limit.unwrap_or_default();
        let sampled = matches!(capture_type, CaptureType::Sflow | CaptureType::OvsSflow);
        PointOptions {
            capture_id: Text::lasting(&self.id),
            layer_key_mode: self.layer_key_mode,
            // -1, and only that, is negative.
            raw_packet_limit: u32::try_from(limit).unwrap_or(PointOptions::UNLIMITED),
            // A peer over TCP just sends later; the kernel does not wait.
            can_wait: capture_type == CaptureType::PcapSocket,
            exact_times: !sampled,
            extra_tcp_metric: self.new.extra_tcp_metric.unwrap_or_default(),
            ip_defrag: self.new.ip_defrag.unwrap_or_default(),
            reassemble_tcp: self.new.reassemble_tcp.unwrap_or_default(),
            extra_layers: ExtraLayers(self.new.extra_layers.unwrap_or_default()),
            ..defaults.clone()
        }
    }

    /// Bytes of each packet that are read, 0 for all.
    pub(crate) fn snaplen(&self) -> u32 {
        u32::try_from(self.new.header_size).unwrap_or(0)
    }

    /// The filter, if there is one.
    pub(crate) fn filter(&self) -> Option<String> {
        (!self.new.bpf_filter.is_empty()).then(|| self.new.bpf_filter.clone())
    }

    /// The port it shall listen on, if one was said.
    pub(crate) fn port(&self) -> Option<u16> {
        (self.new.port != 0).then_some(self.new.port)
    }

    /// Whether `other` would do the same: the rule by which Skydive refuses duplicates.
    pub(crate) fn is_duplicate_of(&self, other: &Self) -> bool {
        self.new.r#type == other.new.r#type
            && self.new.gremlin_query == other.new.gremlin_query
            && (!super::capability::is_multiple(self.capture_type)
                || self.new.bpf_filter == other.new.bpf_filter)
    }

    /// What people call it.
    pub(crate) fn label(&self) -> &str {
        if self.new.name.is_empty() {
            &self.id
        } else {
            &self.new.name
        }
    }

    /// The document, but for what it is doing.
    pub(crate) fn document(&self) -> Capture {
        let new = self.new.clone();
        Capture {
            uuid: self.id.to_string(),
            gremlin_query: new.gremlin_query,
            bpf_filter: new.bpf_filter,
            name: new.name,
            description: new.description,
            r#type: new.r#type,
            port: new.port,
            raw_packet_limit: new.raw_packet_limit.unwrap_or_default(),
            header_size: self.snaplen(),
            extra_tcp_metric: new.extra_tcp_metric.unwrap_or_default(),
            ip_defrag: new.ip_defrag.unwrap_or_default(),
            reassemble_tcp: new.reassemble_tcp.unwrap_or_default(),
            layer_key_mode: new.layer_key_mode,
            extra_layers: new.extra_layers.unwrap_or_default(),
            sampling_rate: new.sampling_rate,
            polling_interval: new.polling_interval,
            target: new.target,
            target_type: new.target_type,
            create_time: self.created,
            expires: self.expires.unwrap_or_default(),
            ..Capture::default()
        }
    }
}

/// Skydive's number for a limit: 0 none, −1 all.
pub(crate) fn raw_packet_limit(options: &PointOptions) -> i64 {
    if options.raw_packet_limit == PointOptions::UNLIMITED {
        -1
    } else {
        i64::from(options.raw_packet_limit)
    }
}

/// Skydive's word for a mode.
pub(crate) fn key_mode(mode: LayerKeyMode) -> &'static str {
    match mode {
        LayerKeyMode::L2 => "L2",
        LayerKeyMode::L3 => "L3",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn defaults() -> PointOptions {
        PointOptions {
            ip_defrag: true,
            extra_layers: ExtraLayers(4),
            layer_key_mode: LayerKeyMode::L3,
            ..PointOptions::default()
        }
    }

    fn declared(new: NewCapture) -> Declared {
        Declared::accept("u".into(), new, 7, Some(9), &defaults()).unwrap()
    }

    #[test]
    fn what_is_left_out_is_as_configured_and_stays_so() {
        let capture = declared(NewCapture::new("G.V()"));
        let document = capture.document();
        assert_eq!((document.raw_packet_limit, document.extra_layers), (20, 4));
        assert_eq!(
            (document.layer_key_mode.as_str(), document.ip_defrag),
            ("L3", true)
        );
        assert_eq!((document.create_time, document.expires), (7, 9));
        // Another configuration at the next start changes nothing.
        let again = Declared::restore("u", capture.kept().unwrap(), &PointOptions::default()).unwrap();
        assert_eq!(again.document(), document);
    }

    #[test]
    fn what_is_said_counts() {
        let capture = declared(NewCapture {
            raw_packet_limit: Some(-1),
            ip_defrag: Some(false),
            extra_layers: Some(0),
            layer_key_mode: "L2".into(),
            header_size: 96,
            ..NewCapture::new("G.V()")
        });
        let options = capture.point_options(CaptureType::AfPacket, &defaults());
        assert_eq!(options.raw_packet_limit, PointOptions::UNLIMITED);
        assert_eq!((options.ip_defrag, options.extra_layers.0), (false, 0));
        assert_eq!(options.layer_key_mode, LayerKeyMode::L2);
        assert_eq!((&*options.capture_id, capture.snaplen()), ("u", 96));
        assert!(options.exact_times && !options.can_wait);
        assert!(!capture.point_options(CaptureType::Sflow, &defaults()).exact_times);
        assert!(
            capture
                .point_options(CaptureType::PcapSocket, &defaults())
                .can_wait
        );
        let none = declared(NewCapture {
            raw_packet_limit: Some(0),
            ..NewCapture::new("G.V()")
        });
        assert_eq!(
            none.point_options(CaptureType::Pcap, &defaults())
                .raw_packet_limit,
            0
        );
    }

    #[test]
    fn what_this_version_refuses_is_restored_with_the_reason() {
        let kept = json!({"GremlinQuery": "G.V(", "Name": "old", "CreateTime": 7});
        let capture = Declared::restore("u", kept, &defaults()).unwrap();
        assert_eq!(capture.document().name, "old");
        assert!(
            capture
                .expression
                .unwrap_err()
                .starts_with("Not a valid Gremlin expression")
        );
        assert!(Declared::restore("u", json!({"CreateTime": "x"}), &defaults()).is_err());
    }

    #[test]
    fn duplicates_are_those_of_skydive() {
        let capture = |kind: &str, gremlin: &str, bpf: &str| {
            declared(NewCapture {
                r#type: kind.into(),
                bpf_filter: bpf.into(),
                ..NewCapture::new(gremlin)
            })
        };
        let duplicates = |one: &Declared, other: &Declared| one.is_duplicate_of(other);
        let plain = capture("", "G.V()", "");
        assert!(duplicates(&plain, &capture("", "G.V()", "")));
        assert!(!duplicates(&plain, &capture("", "G.V()", "icmp")));
        assert!(!duplicates(&plain, &capture("", "G.V().Has('a','b')", "")));
        assert!(!duplicates(&plain, &capture("pcap", "G.V()", "")));
        let single = capture("pcapsocket", "G.V()", "");
        assert!(duplicates(&single, &capture("pcapsocket", "G.V()", "icmp")));
    }
}
