//! The rows of some tables, across restarts of the server.

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::address::Address;
use super::backoff::Backoff;
use super::connection::{Connection, Limits};
use super::error::OvsdbError;
use super::replica::{Replica, RowChange};
use super::schema::Schema;
use super::update::{RowUpdate2, Tables, Updates};
use super::wire::Notification;

/// Events that wait for their reader. When it is full the server has to wait, and in the end hangs up;
/// then everything is compared anew.
const QUEUE: usize = 16;

/// The name of our monitor on a connection, which has no other.
const MONITOR: &str = "flowtap";

/// What to follow.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Where the server listens.
    pub address: Address,
    /// Which database.
    pub database: &'static str,
    /// Which columns of which tables. Those that the server does not have read as empty: older switches
    /// know fewer.
    pub tables: &'static [(&'static str, &'static [&'static str])],
    /// How much the server may send, and how long it may be silent.
    pub limits: Limits,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum FollowEvent {
    /// The contents are known, for the first time or again; the changes since they were known last.
    Synchronized(Vec<RowChange>),
    /// Rows changed: all changes of one transaction, or of several.
    Changed(Vec<RowChange>),
    /// The server cannot be reached, or not any more. What was known of its rows still stands, and
    /// connecting is tried again, for ever.
    Lost(OvsdbError),
}

/// Follows rows until it is dropped.
#[derive(Debug)]
pub struct Follower {
    events: mpsc::Receiver<FollowEvent>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Starts to follow, on the tokio runtime that it is called in.
    #[must_use]
    pub fn start(follow: Follow) -> Self {
        let (tell, events) = mpsc::channel(QUEUE);
        let task = tokio::spawn(Task::new(follow, tell).run());
        Self { events, task }
    }

    /// What happens next. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> FollowEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task never ends by itself.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forms of monitoring, the best first.
const FORMS: [&str; 3] = ["monitor_cond_since", "monitor_cond", "monitor"];

struct Task {
    follow: Follow,
    events: mpsc::Sender<FollowEvent>,
    replica: Replica,
    schema: Schema,
    /// The last transaction known, where the server numbers them: it may then tell only what came after.
    last_transaction: Option<String>,
}

impl Task {
    fn new(follow: Follow, events: mpsc::Sender<FollowEvent>) -> Self {
        Self {
            follow,
            events,
            replica: Replica::default(),
            schema: Schema::default(),
            last_transaction: None,
        }
    }

    async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            let started = Instant::now();
            let Err(error) = self.session().await;
            if matches!(error, OvsdbError::Protocol(_)) {
                // What is known may be wrong: ask for all of it.
                self.last_transaction = None;
            }
            self.tell(FollowEvent::Lost(error)).await;
            backoff.worked(started.elapsed());
            sleep(backoff.pause()).await;
        }
    }

    /// Follows on one connection, until it ends.
    async fn session(&mut self) -> Result<std::convert::Infallible, OvsdbError> {
        let Follow { address, limits, .. } = &self.follow;
        let (connection, mut notifications) = Connection::open(address, limits).await?;
        self.schema = connection.call("get_schema", &[self.follow.database]).await?;
        let mut changes = Vec::new();
        let monitored = self.monitor(&connection, &mut changes).await;
        if monitored.is_err() && !changes.is_empty() {
            self.tell(FollowEvent::Changed(std::mem::take(&mut changes)))
                .await;
        }
        monitored?;
        self.tell(FollowEvent::Synchronized(changes)).await;
        loop {
            let notification = notifications.next().await?;
            let Some(updates) = self.updates(&notification)? else {
                continue;
            };
            let mut changes = Vec::new();
            let applied = self.replica.apply(updates, &self.schema, &mut changes);
            if !changes.is_empty() {
                self.tell(FollowEvent::Changed(changes)).await;
            }
            applied?;
        }
    }

    /// Begins to monitor, and takes the contents over.
    async fn monitor(
        &mut self,
        connection: &Connection,
        changes: &mut Vec<RowChange>,
    ) -> Result<(), OvsdbError> {
        let mut refused = OvsdbError::Closed;
        for form in FORMS {
            match self.monitor_as(form, connection, changes).await {
                Err(error) if error.is_unknown_method() => refused = error,
                done => return done,
            }
        }
        Err(refused)
    }

    async fn monitor_as(
        &mut self,
        form: &'static str,
        connection: &Connection,
        changes: &mut Vec<RowChange>,
    ) -> Result<(), OvsdbError> {
        let mut request = vec![json!(self.follow.database), json!(MONITOR), self.tables()];
        let contents = match form {
            "monitor_cond_since" => {
                let nothing = || Uuid::nil().to_string();
                request.push(json!(self.last_transaction.clone().unwrap_or_else(nothing)));
                let (found, last, rows): (bool, String, Tables<RowUpdate2>) =
                    connection.call(form, &request).await?;
                self.last_transaction = Some(last);
                let rows = Updates::Differences(rows);
                if found {
                    return self.replica.apply(rows, &self.schema, changes);
                }
                rows
            }
            "monitor_cond" => Updates::Differences(connection.call(form, &request).await?),
            _ => Updates::Whole(connection.call(form, &request).await?),
        };
        *changes = self.replica.replace(contents, &self.schema)?;
        Ok(())
    }

    /// `<monitor-requests>`, of what the server has.
    fn tables(&self) -> Value {
        let tables = self.follow.tables.iter().filter_map(|(table, columns)| {
            let columns: Vec<_> = columns
                .iter()
                .filter(|column| self.schema.shape(table, column).is_some())
                .collect();
            (!columns.is_empty()).then(|| ((*table).to_owned(), json!([{ "columns": columns }])))
        });
        Value::Object(Map::from_iter(tables))
    }

    /// The changes in a notification; `None` if it is about something else.
    fn updates(&mut self, notification: &Notification) -> Result<Option<Updates>, OvsdbError> {
        Ok(Some(match &*notification.method {
            "update" => Updates::Whole(ours(notification.params()?)?),
            "update2" => Updates::Differences(ours(notification.params()?)?),
            "update3" => {
                let (monitor, last, rows): (String, String, Tables<RowUpdate2>) = notification.params()?;
                let rows = ours((monitor, rows))?;
                self.last_transaction = Some(last);
                Updates::Differences(rows)
            }
            // The schema is being changed: begin again.
            "monitor_canceled" => return Err(OvsdbError::Closed),
            _ => return Ok(None),
        }))
    }

    async fn tell(&self, event: FollowEvent) {
        // Without a reader this task is about to be aborted.
        let _nobody_reads = self.events.send(event).await;
    }
}

fn ours<T>((monitor, rows): (String, Tables<T>)) -> Result<Tables<T>, OvsdbError> {
    if monitor == MONITOR {
        Ok(rows)
    } else {
        Err(OvsdbError::Protocol(format!(
            "it named a monitor `{monitor}`, which is none"
        )))
    }
}
