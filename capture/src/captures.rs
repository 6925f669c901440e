//! The list of captures.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use flowtap_collectors::CaptureType;
use flowtap_flow::ledger::LedgerSnapshot;
use flowtap_flow::timestamp::Timestamp;
use flowtap_storage::Histogram;
use tokio::sync::watch;
use uuid::Uuid;

use crate::declare::{Declared, NewCapture};
use crate::document::{Capture, CaptureEvent, EventKind, NodeState, State};
use crate::entry::{Entry, Hints};
use crate::error::CaptureError;
use crate::explain::{Explanation, explain};
use crate::journal::Place;
use crate::reconcile::{EarlyStats, Keeper, Kernel, Link, Message, wants_early};
use crate::standing::Standing;

/// Deleted captures whose log can still be read, some 64 KiB each at most: whoever follows a capture sees
/// its end.
const KEPT_OF_DELETED: usize = 32;

/// How long a list takes at most to tell why captures name nothing; of others it tells what it knows.
const LIST_PATIENCE: Duration = Duration::from_millis(50);
/// The same for one capture.
const GET_PATIENCE: Duration = Duration::from_secs(5);

/// A capture's counters, without the rest: what `/metrics` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Its id.
    pub uuid: String,
    /// Its type; empty where it goes by the node.
    pub capture_type: String,
    /// What it is doing.
    pub state: State,
    /// At how many nodes it is waiting, active, …: only states that some node is in. A standing input is
    /// one.
    pub interfaces: Vec<(&'static str, usize)>,
    /// Its ledger now.
    pub ledger: LedgerSnapshot,
}

/// The captures of this process: standing inputs first, then what users declared, in the order in which
/// they did. A cheap handle, shared between threads; locks are held for the length of a copy.
///
/// Until [`Captures::start`](Captures::start) there are standing inputs alone, and nothing can be declared.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    standing: RwLock<Vec<Standing>>,
    declared: RwLock<Declarations>,
    /// Held while something is declared or deleted: what is checked is still so when it is kept. Holds
    /// the number of the last capture.
    declaring: Mutex<u64>,
    /// Captures that are deleted and that the store could not forget yet, each an id. No more than there may
    /// be captures: a store that forgets nothing keeps nothing new.
    unforgotten: Mutex<Vec<String>>,
    link: RwLock<Option<Link>>,
    /// Counts up whenever a state has changed.
    version: watch::Sender<u64>,
    start_delays: Mutex<Histogram>,
}

#[derive(Debug, Default)]
struct Declarations {
    now: Vec<Arc<Entry>>,
    deleted: VecDeque<Arc<Entry>>,
}

impl Captures {
    /// Declares a capture. What it leaves out is as flowtap is configured; with `ttl` it is deleted after
    /// that time. It outlives a restart when this returns, and its nodes are looked for from then on.
    ///
    /// Blocks while it is written to disk.
    ///
    /// # Errors
    /// [`CaptureError::Invalid`], [`CaptureError::Duplicate`], [`CaptureError::TooMany`],
    /// [`CaptureError::Store`], [`CaptureError::NotRunning`].
    pub fn create(&self, new: NewCapture, ttl: Option<Duration>) -> Result<Capture, CaptureError> {
        let link = self.link()?;
        let services = &link.services;
        let now = Timestamp::now();
        let expires = ttl.map(|ttl| now.plus(ttl).millis());
        let id: Arc<str> = Uuid::new_v4().to_string().into();
        let declared = Declared::accept(id, new, now.millis(), expires, &services.defaults)
            .map_err(CaptureError::Invalid)?;
        if let Some(capture_type) = declared.capture_type {
            services.support(capture_type).map_err(CaptureError::Invalid)?;
        }
        let kept = declared.kept().map_err(|error| CaptureError::Store {
            action: "keep",
            reason: error.to_string(),
        })?;

        let mut number = self.declaring();
        let others = self.entries();
        if let Some(twin) = others
            .iter()
            .find(|other| declared.is_duplicate_of(&other.declared))
        {
            return Err(CaptureError::Duplicate {
                of: twin.id().to_owned(),
            });
        }
        if others.len() >= services.limits.captures {
            return Err(CaptureError::TooMany {
                max: services.limits.captures,
            });
        }
        let written = services.store.put(&declared.id, &kept);
        written.map_err(|reason| CaptureError::Store {
            action: "keep",
            reason,
        })?;
        *number += 1;
        let entry = Arc::new(Entry::new(*number, declared));
        entry.note(now.millis(), EventKind::Created, Place::default(), "");
        self.declared_mut().now.push(Arc::clone(&entry));
        drop(number);
        // Before the caller knows of the capture: the next interface that appears is covered.
        self.want_early(&link.keeper);
        link.keeper.settle();
        if entry.declared.expires.is_some() {
            link.expiry.ring();
        }
        link.tell(Message::Declared);
        Ok(entry.read(None))
    }

    /// Deletes a capture. It is gone from the list when this returns; its sources hand on what they have
    /// and end in the background. If the store cannot forget it, that is so all the same, and the store is
    /// asked again until it can.
    ///
    /// Blocks while it is written to disk.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`], [`CaptureError::Standing`], [`CaptureError::Unforgotten`],
    /// [`CaptureError::NotRunning`].
    pub fn delete(&self, id: &str) -> Result<(), CaptureError> {
        self.remove(id, "")
    }

    /// [`Captures::delete`], with a reason for the log.
    pub(crate) fn remove(&self, id: &str, reason: &str) -> Result<(), CaptureError> {
        let link = self.link()?;
        let declaring = self.declaring();
        if self.standing().iter().any(|standing| standing.id() == id) {
            return Err(CaptureError::Standing(id.to_owned()));
        }
        if self.entry(id).is_none() && !self.unforgotten().iter().any(|other| other == id) {
            return Err(CaptureError::Unknown(id.to_owned()));
        }
        let forgotten = link.services.store.delete(id);
        let mut detail = reason.to_owned();
        self.unforgotten().retain(|other| other != id);
        if let Err(reason) = &forgotten {
            tracing::warn!(
                capture = id,
                reason,
                "a capture is deleted and could not be forgotten yet"
            );
            self.unforgotten().push(id.to_owned());
            let space = if detail.is_empty() { "" } else { "; " };
            detail.push_str(&format!("{space}it could not be forgotten yet: {reason}"));
        }
        let mut declared = self.declared_mut();
        if let Some(place) = declared.now.iter().position(|entry| entry.id() == id) {
            let entry = declared.now.remove(place);
            let now = Timestamp::now().millis();
            entry.note(now, EventKind::Deleted, Place::default(), detail);
            declared.deleted.truncate(KEPT_OF_DELETED - 1);
            declared.deleted.push_front(entry);
        }
        drop((declared, declaring));
        link.tell(Message::Declared);
        self.changed();
        forgotten.map_err(|reason| {
            link.expiry.ring();
            CaptureError::Unforgotten { reason }
        })
    }

    /// Has the store forget what it could not yet. Returns whether nothing is left.
    pub(crate) fn forget_rest(&self) -> bool {
        let Ok(link) = self.link() else { return true };
        let _declaring = self.declaring();
        let mut rest = self.unforgotten();
        rest.retain(|id| link.services.store.delete(id).is_err());
        rest.is_empty()
    }

    /// All captures, without their logs.
    #[must_use]
    pub fn list(&self) -> Vec<Capture> {
        let graph = self.link().ok().map(|link| link.services.graph.snapshot());
        let hints = graph.as_deref().map(|graph| Hints::new(graph, LIST_PATIENCE));
        let mut list: Vec<Capture> = self.standing().iter().map(Standing::read).collect();
        let entries = self.entries();
        list.extend(entries.iter().map(|entry| entry.read(hints.as_ref())));
        list
    }

    /// One capture, with its log.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Capture> {
        let standing = self
            .standing()
            .iter()
            .find(|one| one.id() == id)
            .map(Standing::read);
        standing.or_else(|| {
            let entry = self.entry(id)?;
            let graph = self.link().ok().map(|link| link.services.graph.snapshot());
            let hints = graph.as_deref().map(|graph| Hints::new(graph, GET_PATIENCE));
            let mut document = entry.read(hints.as_ref());
            document.events = entry.events();
            Some(document)
        })
    }

    /// The one capture with this id or, if there is none, this name or, if there is none either, the standing
    /// input of this type.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`], [`CaptureError::Ambiguous`].
    pub fn find(&self, id_or_name: &str) -> Result<Capture, CaptureError> {
        if let Some(capture) = self.get(id_or_name) {
            return Ok(capture);
        }
        let entries = self.entries();
        let standing = |is_meant: fn(&Standing, &str) -> bool| -> Vec<String> {
            let all = self.standing();
            let meant = all.iter().filter(|one| is_meant(one, id_or_name));
            meant.map(|one| one.id().to_owned()).collect()
        };
        let mut named = standing(|one, name| one.name() == name);
        let declared = entries
            .iter()
            .filter(|entry| entry.declared.new.name == id_or_name);
        named.extend(declared.map(|entry| entry.id().to_owned()));
        if named.is_empty() {
            // Those of the configuration have no name, and mostly there is one of each type.
            named = standing(|one, kind| one.capture_type() == kind);
        }
        let unknown = || CaptureError::Unknown(id_or_name.to_owned());
        match named.as_slice() {
            [one] if !id_or_name.is_empty() => self.get(one).ok_or_else(unknown),
            [_, _, ..] if !id_or_name.is_empty() => Err(CaptureError::Ambiguous {
                name: id_or_name.to_owned(),
                count: named.len(),
            }),
            _ => Err(unknown()),
        }
    }

    /// A capture's log, oldest first; also for a while after it was deleted.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`]. Standing inputs have no log.
    pub fn events(&self, id: &str) -> Result<Vec<CaptureEvent>, CaptureError> {
        let declared = read(&self.shared.declared);
        let mut all = declared.now.iter().chain(&declared.deleted);
        let found = all.find(|entry| entry.id() == id).map(|entry| entry.events());
        found.ok_or_else(|| CaptureError::Unknown(id.to_owned()))
    }

    /// Waits until a capture captures at every node that it names and that can be captured now, for
    /// `timeout` at most. Returns the capture as it is then: its state tells which it was.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`], also if it is deleted meanwhile.
    pub async fn wait(&self, id: &str, timeout: Duration) -> Result<Capture, CaptureError> {
        let mut version = self.shared.version.subscribe();
        let active = async {
            while self.state(id).is_some_and(|settled| !settled) {
                // The sender lives as long as `self`.
                if version.changed().await.is_err() {
                    break;
                }
            }
        };
        // Whether it is active or the time was up: the document tells.
        let _timed_out = tokio::time::timeout(timeout, active).await;
        self.get(id).ok_or_else(|| CaptureError::Unknown(id.to_owned()))
    }

    /// Whether a capture is active and nothing of it is under way; `None` if there is no such capture.
    fn state(&self, id: &str) -> Option<bool> {
        if let Some(standing) = self.standing().iter().find(|one| one.id() == id) {
            return Some(standing.state().is_capturing());
        }
        let entry = self.entry(id)?;
        let status = entry.status();
        let mut states = status.nodes.values().map(|seen| seen.node.state);
        Some(status.state.is_capturing() && states.all(|state| state != NodeState::Starting))
    }

    /// What an expression would capture now, and for what it just misses, why.
    ///
    /// # Errors
    /// [`CaptureError::Invalid`] for an expression, or a capture type, that cannot be declared either;
    /// [`CaptureError::NotRunning`].
    pub fn explain(&self, gremlin: &str, capture_type: &str) -> Result<Explanation, CaptureError> {
        let link = self.link()?;
        let graph = link.services.graph.snapshot();
        explain(gremlin, capture_type, &graph, &link.services).map_err(CaptureError::Invalid)
    }

    /// The counters of all captures.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        let standing = self.standing();
        let standing = standing.iter().map(|standing| Counters {
            uuid: standing.id().to_owned(),
            capture_type: standing.capture_type().to_owned(),
            state: standing.state(),
            interfaces: vec![(standing.state().as_str(), 1)],
            ledger: standing.ledger.snapshot(),
        });
        let mut counters: Vec<Counters> = standing.collect();
        counters.extend(self.entries().iter().map(|entry| {
            let status = entry.status();
            let kind = entry.declared.capture_type;
            Counters {
                uuid: entry.id().to_owned(),
                capture_type: kind.map_or("", CaptureType::as_str).to_owned(),
                state: status.state,
                interfaces: status.interfaces(),
                ledger: status.ledger(),
            }
        }));
        counters
    }

    /// How long it took until captures were capturing, since the start of flowtap: from the moment that
    /// the interface appeared or, where that was long before an expression named it, from then on.
    #[must_use]
    pub fn start_delays(&self) -> Histogram {
        self.histogram().clone()
    }

    /// How new interfaces were looked after whose first packets a capture might want.
    #[must_use]
    pub fn early_stats(&self) -> EarlyStats {
        self.link().map(|link| link.keeper.stats()).unwrap_or_default()
    }

    /// Connects the list with a reconciler, or with none.
    pub(crate) fn set_link(&self, link: Option<Link>) {
        *write(&self.shared.link) = link;
    }

    /// Lists what was declared before this start.
    pub(crate) fn restore(&self, declared: Vec<Declared>) {
        let now = Timestamp::now().millis();
        let mut number = self.declaring();
        for declared in declared {
            *number += 1;
            let entry = Entry::new(*number, declared);
            entry.note(now, EventKind::Restored, Place::default(), "");
            self.declared_mut().now.push(Arc::new(entry));
        }
    }

    /// What is declared, in order.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        read(&self.shared.declared).now.clone()
    }

    /// Says whether the first packets of new interfaces are to be held.
    pub(crate) fn want_early(&self, keeper: &Keeper<Kernel>) {
        // Under the lock: nobody who looked at the list before a change says so after it.
        let declared = read(&self.shared.declared);
        keeper.want(declared.now.iter().any(|entry| wants_early(entry)));
    }

    /// Lets those who wait for a state look.
    pub(crate) fn changed(&self) {
        self.shared.version.send_modify(|version| *version += 1);
    }

    /// Counts a start.
    pub(crate) fn started(&self, delay: Duration) {
        self.histogram().observe(delay);
    }

    fn entry(&self, id: &str) -> Option<Arc<Entry>> {
        let declared = read(&self.shared.declared);
        declared.now.iter().find(|entry| entry.id() == id).cloned()
    }

    fn link(&self) -> Result<Link, CaptureError> {
        read(&self.shared.link).clone().ok_or(CaptureError::NotRunning)
    }

    fn standing(&self) -> RwLockReadGuard<'_, Vec<Standing>> {
        read(&self.shared.standing)
    }

    pub(crate) fn standing_mut(&self) -> RwLockWriteGuard<'_, Vec<Standing>> {
        write(&self.shared.standing)
    }

    fn declared_mut(&self) -> RwLockWriteGuard<'_, Declarations> {
        write(&self.shared.declared)
    }

    fn declaring(&self) -> MutexGuard<'_, u64> {
        self.shared
            .declaring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn unforgotten(&self) -> MutexGuard<'_, Vec<String>> {
        let unforgotten = self.shared.unforgotten.lock();
        unforgotten.unwrap_or_else(PoisonError::into_inner)
    }

    fn histogram(&self) -> MutexGuard<'_, Histogram> {
        self.shared
            .start_delays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// Whoever panicked with a list has put an element in or taken it out as a whole.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
