//! Nodes and edges on their way from step to step.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use flowtap_flow::query::Cancel;
use flowtap_topology::{Edge, Node};

use super::field::{Element, Field};
use super::filter::ElementFilter;
use crate::error::QueryError;
use crate::limits::{Limits, Meter, size};
use crate::sort_key::SortKey;

/// What a walk has reached.
#[derive(Debug)]
pub(crate) enum State {
    Graph,
    Nodes(Elements<Node>),
    Edges(Elements<Edge>),
    Paths(Vec<Path>),
}

/// The nodes from one end of a path to the other.
pub(crate) type Path = Vec<Arc<Node>>;

/// Nodes or edges. A graph hands its elements out in no order: they are ordered by age when a step
/// comes that can tell, which most queries do after a condition that few elements meet.
#[derive(Debug)]
pub(crate) struct Elements<T> {
    items: Vec<Arc<T>>,
    ordered: bool,
}

impl<T: Element> Elements<T> {
    /// In the order they shall have.
    pub(crate) fn ordered(items: Vec<Arc<T>>) -> Self {
        Self { items, ordered: true }
    }

    /// In no order yet.
    pub(crate) fn of_graph<'g>(
        all: impl Iterator<Item = &'g Arc<T>>,
        filter: &ElementFilter,
        pace: &mut Pace<'_>,
    ) -> Result<Self, QueryError>
    where
        T: 'g,
    {
        let mut items = Vec::new();
        for element in all {
            pace.tick()?;
            if filter.matches(&**element) {
                items.push(Arc::clone(element));
            }
        }
        Ok(Self {
            items,
            ordered: false,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// In no certain order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.items.iter()
    }

    pub(crate) fn in_order(mut self) -> Vec<Arc<T>> {
        if !self.ordered {
            self.items.sort_unstable_by(|a, b| by_age(&**a, &**b));
        }
        self.items
    }

    pub(crate) fn filter(mut self, filter: &ElementFilter, pace: &mut Pace<'_>) -> Result<Self, QueryError> {
        let mut interrupted = Ok(());
        self.items.retain(|element| {
            interrupted.is_ok() && {
                interrupted = pace.tick();
                filter.matches(&**element)
            }
        });
        interrupted.map(|()| self)
    }

    pub(crate) fn slice(self, from: u64, to: u64) -> Self {
        let items = self.in_order();
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let items = items.into_iter().take(place(to)).skip(place(from));
        Self::ordered(items.collect())
    }

    pub(crate) fn sort(self, field: Option<&Field>, descending: bool) -> Self {
        let age = Field::parse("@CreatedAt");
        let field = field.unwrap_or(&age);
        let mut keyed: Vec<(Option<SortKey>, Arc<T>)> = self
            .items
            .into_iter()
            .map(|element| (field.first(&*element).map(SortKey::of), element))
            .collect();
        keyed.sort_unstable_by(|(a_key, a), (b_key, b)| {
            SortKey::compare(descending, a_key.as_ref(), b_key.as_ref()).then_with(|| by_age(&**a, &**b))
        });
        Self::ordered(keyed.into_iter().map(|(_, element)| element).collect())
    }

    /// The first of each different value of `fields`, or of each ID without fields. Elements that have
    /// none of the fields all stay.
    pub(crate) fn dedup(self, fields: &[Field], limits: &Limits) -> Result<Self, QueryError> {
        let mut meter = Meter::new("different elements", limits);
        let mut seen = HashSet::new();
        let mut items = Vec::new();
        for element in self.in_order() {
            let key = if fields.is_empty() {
                Some(element.id().to_owned())
            } else {
                values_of(fields, &*element)
            };
            if let Some(key) = key {
                let bytes = size(size_of::<String>() + key.len());
                if !seen.insert(key) {
                    continue;
                }
                meter.add(bytes)?;
            }
            items.push(element);
        }
        Ok(Self::ordered(items))
    }
}

/// The values of `fields` as JSON, which different values never share; `None` if it has none of them.
fn values_of(fields: &[Field], element: &impl Element) -> Option<String> {
    let mut key = String::new();
    let mut found = false;
    for field in fields {
        if let Some(value) = field.json(element) {
            found = true;
            key.push_str(&value.to_string());
        }
        key.push(';');
    }
    found.then_some(key)
}

/// The order of elements where nothing else gives one.
pub(crate) fn by_age(a: &impl Element, b: &impl Element) -> Ordering {
    let by_creation = a.created_at().cmp(&b.created_at());
    by_creation.then_with(|| a.id().cmp(b.id()))
}

/// Asks now and then whether to go on.
#[derive(Debug)]
pub(crate) struct Pace<'a> {
    cancel: &'a Cancel,
    steps: u32,
}

impl<'a> Pace<'a> {
    /// Between two looks at the clock; a step is well under a microsecond.
    const STEPS: u32 = 256;

    pub(crate) fn new(cancel: &'a Cancel) -> Self {
        Self { cancel, steps: 0 }
    }

    pub(crate) fn tick(&mut self) -> Result<(), QueryError> {
        if self.steps == 0 {
            self.cancel.check()?;
            self.steps = Self::STEPS;
        }
        self.steps -= 1;
        Ok(())
    }
}
