//! `flowtap capture watch`.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use flowtap_capture::{CaptureEvent, EventKind};

use super::super::connect::Session;
use crate::exit::CommandResult;
use crate::output;
use crate::output::time;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Id or name
    #[arg(value_name = "CAPTURE")]
    id: String,
}

impl Watch {
    pub(crate) async fn run(self, session: &Session) -> CommandResult {
        let mut seen = 0;
        loop {
            for event in session.client.capture_events(&self.id, seen).await? {
                seen = event.sequence;
                print(&event)?;
                if event.event == EventKind::Deleted {
                    return Ok(());
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn print(event: &CaptureEvent) -> std::io::Result<()> {
    let mut out = output::stdout();
    write!(out, "{}  {:<12}", time::utc(event.time), event.event.as_str())?;
    for word in [&event.node_name, &event.detail] {
        if !word.is_empty() {
            write!(out, " {word}")?;
        }
    }
    writeln!(out)?;
    out.flush()
}
