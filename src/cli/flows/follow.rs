//! Flows as they come.

use std::collections::HashMap;
use std::time::Duration;

use flowtap_api::client::FlowsRequest;
use flowtap_api::wire::FlowDocument;

use super::Printer;
use crate::cli::connect::Session;
use crate::exit::Failure;

const INTERVAL: Duration = Duration::from_secs(1);
/// How far back each look goes: longer than the interval, since packets reach the table late (a
/// switch holds sFlow samples for up to a second).
const LOOK_BACK_SECONDS: u64 = 15;
/// Looks after which a flow that was in none of them is forgotten. By then it is out of the window.
const REMEMBERED: u64 = 20;

/// What was printed of one flow.
struct Printed {
    last: i64,
    packets: u64,
    /// The look that found it last.
    look: u64,
}

impl Printed {
    fn new(flow: &FlowDocument, look: u64) -> Self {
        Self {
            last: flow.last,
            packets: flow.metric.ab_packets + flow.metric.ba_packets,
            look,
        }
    }
}

/// Looks once a second and prints each flow that is new or has new packets, until a signal ends the
/// process. `shown` are those on the screen already.
pub(super) async fn follow(
    session: &Session,
    request: FlowsRequest,
    shown: Vec<FlowDocument>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    // Two views of what is new: flows with packets of the last seconds, wherever they are by now, and
    // flows that got a packet in the last seconds, whatever time a replayed file says it has.
    let recent = FlowsRequest {
        from: Some(format!("-{LOOK_BACK_SECONDS}s")),
        limit: None,
        ..request.clone()
    };
    let active = FlowsRequest {
        active: Some(LOOK_BACK_SECONDS),
        from: None,
        limit: None,
        ..request
    };
    // Bounded by the flows of the last seconds, about 100 bytes each.
    let mut printed: HashMap<String, Printed> = shown
        .into_iter()
        .map(|flow| (flow.uuid.clone(), Printed::new(&flow, 0)))
        .collect();
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    for look in 1.. {
        tokio::select! {
            _ = &mut stop => break,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let mut flows = super::fetch(session, active.clone()).await?;
        flows.extend(super::fetch(session, recent.clone()).await?);
        flows.retain(|flow| {
            let now = Printed::new(flow, look);
            let (last, packets) = (now.last, now.packets);
            let before = printed.insert(flow.uuid.clone(), now);
            before.is_none_or(|before| (before.last, before.packets) != (last, packets))
        });
        printer.flows(&flows)?;
        printed.retain(|_, flow| look - flow.look < REMEMBERED);
    }
    Ok(())
}
